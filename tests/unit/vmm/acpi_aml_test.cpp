// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>

#include <trivet/vmm/acpi/aml.hpp>

namespace trivet::vmm::aml {
namespace {

Code bytes(std::initializer_list<unsigned> values) {
  Code code;
  for (const auto value : values) code.push_back(static_cast<std::byte>(value));
  return code;
}

TEST(Aml, IntegersTakeTheShortestForm) {
  EXPECT_EQ(integer(0), bytes({0x00}));
  EXPECT_EQ(integer(1), bytes({0x01}));
  EXPECT_EQ(integer(2), bytes({0x0a, 2}));
  EXPECT_EQ(integer(0xff), bytes({0x0a, 0xff}));
  EXPECT_EQ(integer(0x100), bytes({0x0b, 0x00, 0x01}));
  EXPECT_EQ(integer(0x1'0000), bytes({0x0c, 0, 0, 1, 0}));
  EXPECT_EQ(integer(0x1'0000'0000), bytes({0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(Aml, EisaIdsAreCompressed) {
  EXPECT_EQ(eisa_id("PNP0501"), bytes({0x0c, 0x41, 0xd0, 0x05, 0x01}));
  EXPECT_EQ(eisa_id("PNP0B00"), bytes({0x0c, 0x41, 0xd0, 0x0b, 0x00}));
}

TEST(Aml, NamesArePadded) {
  EXPECT_EQ(name("_S5", integer(1)), bytes({0x08, '_', 'S', '5', '_', 0x01}));
  EXPECT_EQ(Name::numbered('C', 0xabc).characters(), (std::array<char, 4>{'C', 'A', 'B', 'C'}));
  EXPECT_EQ(Name::numbered('V', 7).characters(), (std::array<char, 4>{'V', '0', '0', '7'}));
}

TEST(Aml, StringsEndInZero) {
  EXPECT_EQ(string("AB"), bytes({0x0d, 'A', 'B', 0}));
}

TEST(Aml, PackagesCountTheirElements) {
  EXPECT_EQ(package({integer(5), integer(0)}), bytes({0x12, 5, 2, 0x0a, 5, 0}));
}

TEST(Aml, PackageLengthGrowsByWholeBytes) {
  // 0x10, length, four name bytes, body: the length counts itself.
  const auto length_bytes = [](std::size_t body) { return scope("A", Code(body)).size() - 1 - 4 - body; };
  EXPECT_EQ(length_bytes(63 - 5), 1U);
  EXPECT_EQ(length_bytes(64 - 5), 2U);
  EXPECT_EQ(length_bytes(4095 - 6), 2U);
  EXPECT_EQ(length_bytes(4096 - 6), 3U);
  EXPECT_EQ(length_bytes((1U << 20) - 1 - 7), 3U);
  EXPECT_EQ(length_bytes((1U << 20) - 7), 4U);
  const auto code = scope("A", Code(0x123 - 6));
  EXPECT_EQ(code[1], std::byte{0x43});
  EXPECT_EQ(code[2], std::byte{0x12});
}

TEST(Aml, ResourcesEndWithATag) {
  const auto code = Resources().ports(0x3f8, 8).code();
  EXPECT_EQ(code, bytes({0x11, 0x0d, 0x0a, 0x0a, 0x47, 1, 0xf8, 0x03, 0xf8, 0x03, 1, 8, 0x79, 0}));
}

TEST(Aml, WindowsAreAsWideAsTheirAddresses) {
  const auto low = Resources().memory_window(0xd800'0000, 0x800'0000).code();
  EXPECT_EQ(low.size(), 4 + 26 + 2U);
  EXPECT_EQ(low[4], std::byte{0x87});
  const auto high = Resources().memory_window(0x1'0000'0000, 0x8000'0000).code();
  ASSERT_EQ(high.size(), 4 + 46 + 2U);
  EXPECT_EQ(Code(high.begin() + 4, high.begin() + 10), bytes({0x8a, 43, 0, 0, 0x0c, 1}));
  EXPECT_EQ(Code(high.begin() + 18, high.begin() + 34),
            bytes({0, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0}));
}

TEST(Aml, InterruptsSayHowTheyTell) {
  const auto flags = [](Resources::Line line) { return Resources().interrupt(17, line).code()[7]; };
  EXPECT_EQ(flags(Resources::Line::edge_high), std::byte{0x03});
  EXPECT_EQ(flags(Resources::Line::level_high), std::byte{0x01});
}

TEST(Aml, DevicesNest) {
  EXPECT_EQ(device("D0", name("_UID", integer(0))),
            bytes({0x5b, 0x82, 11, 'D', '0', '_', '_', 0x08, '_', 'U', 'I', 'D', 0x00}));
}

}  // namespace
}  // namespace trivet::vmm::aml
