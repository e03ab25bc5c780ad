// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <trivet/vmm/loader/command_line.hpp>

namespace trivet::vmm {
namespace {

using ::testing::HasSubstr;

TEST(CommandLine, JoinsWordsWithOneSpace) {
  CommandLine line;
  EXPECT_TRUE(line.empty());
  ASSERT_TRUE(line.append("  console=ttyS0 quiet ").has_value());
  ASSERT_TRUE(line.append("").has_value());
  ASSERT_TRUE(line.insert("root", "/dev/vda").has_value());
  EXPECT_EQ(line.text(), "console=ttyS0 quiet root=/dev/vda");
  EXPECT_EQ(line.size(), line.text().size());
}

TEST(CommandLine, KeepsInitArgumentsLast) {
  auto line = *CommandLine::create("quiet -- one two");
  ASSERT_TRUE(line.insert("panic", "-1").has_value());
  ASSERT_TRUE(line.append_init_arguments("three").has_value());
  EXPECT_EQ(line.text(), "quiet panic=-1 -- one two three");
  EXPECT_EQ(line.size(), line.text().size());
  EXPECT_EQ(CommandLine::create("-- sh")->text(), "-- sh");
}

TEST(CommandLine, TakesOnlyAWholeUnquotedWordAsSeparator) {
  auto line = *CommandLine::create("a=\"x -- y\" b=--c --d");
  ASSERT_TRUE(line.append("last").has_value());
  EXPECT_EQ(line.text(), "a=\"x -- y\" b=--c --d last");
}

TEST(CommandLine, QuotesValuesWithSpaces) {
  CommandLine line;
  ASSERT_TRUE(line.insert("dyndbg", "file a +p").has_value());
  EXPECT_EQ(line.text(), "dyndbg=\"file a +p\"");
}

TEST(CommandLine, RefusesWhatIsNotPrintableAscii) {
  for (const std::string_view text : {std::string_view("a\nb"), std::string_view("a\0b", 3), std::string_view("\x7f"),
                                      std::string_view("caf\xc3\xa9"), std::string_view("a\tb")}) {
    const auto line = CommandLine::create(text);
    ASSERT_FALSE(line.has_value());
    EXPECT_EQ(line.error().code(), Errc::invalid_argument);
    EXPECT_EQ(line.error().blame(), Blame::caller);
  }
  EXPECT_THAT(to_string(CommandLine::create("ab\n").error()), HasSubstr("character 3 has code 0x0a"));
  EXPECT_FALSE(CommandLine::create("a=\"open").has_value());
}

TEST(CommandLine, RefusesKeysThatAreNone) {
  CommandLine line;
  for (const auto* key : {"", "a b", "a=b", "a\"", "--"}) EXPECT_FALSE(line.insert(key, "v").has_value()) << key;
  EXPECT_FALSE(line.insert("a", "say \"x\"").has_value());
  EXPECT_TRUE(line.empty());
}

TEST(CommandLine, StaysAsItWasWhenTooLong) {
  auto line = *CommandLine::create("12345", 10);
  EXPECT_EQ(line.append("67890").error().code(), Errc::limit);
  EXPECT_EQ(line.append("x -- 78").error().code(), Errc::limit);
  EXPECT_EQ(line.text(), "12345");
  ASSERT_TRUE(line.append("7890").has_value());
  EXPECT_EQ(line.text(), "12345 7890");
  EXPECT_EQ(line.append("x").error().code(), Errc::limit);
  EXPECT_TRUE(CommandLine::create(std::string(2047, 'a')).has_value());
  EXPECT_THAT(to_string(CommandLine::create(std::string(2048, 'a')).error()), HasSubstr("2048"));
  EXPECT_EQ(CommandLine(1 << 20).limit(), CommandLine::greatest_limit);
}

TEST(CommandLine, AnnouncesVirtioMmioDevices) {
  CommandLine line;
  ASSERT_TRUE(line.insert_virtio_mmio({{0xd000'0000}, 0x1000}, 16).has_value());
  ASSERT_TRUE(line.insert_virtio_mmio({{0xd000'1000}, 0x200}, 17, 3).has_value());
  EXPECT_EQ(line.text(), "virtio_mmio.device=4K@0xd0000000:16 virtio_mmio.device=0x200@0xd0001000:17:3");
  EXPECT_FALSE(line.insert_virtio_mmio({{~std::uint64_t{0}}, 2}, 1).has_value());
  EXPECT_FALSE(line.insert_virtio_mmio({{0}, 0}, 1).has_value());
}

}  // namespace
}  // namespace trivet::vmm
