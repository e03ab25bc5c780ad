// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "abi/fw_cfg.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <string_view>

#include <trivet/vmm/debug_port.hpp>
#include <trivet/vmm/fw_cfg.hpp>

#include "legacy_support.hpp"
#include "loader_support.hpp"

namespace trivet::vmm {
namespace {

using testing::in;

constexpr std::uint64_t ram = 0x10000;

std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

class FwCfgTest : public ::testing::Test {
 protected:
  void select(std::uint16_t key) { fw_cfg.write(0, std::as_bytes(std::span(&key, 1))); }
  std::string read(std::size_t size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(in(fw_cfg, 1));
    return text;
  }
  std::string memory_text(std::uint64_t at, std::size_t size) {
    std::string text(size, '?');
    EXPECT_TRUE(map->snapshot()->read({at}, std::as_writable_bytes(std::span(text))));
    return text;
  }
  void start(std::uint64_t descriptor) {
    abi::be32 part;
    part = static_cast<std::uint32_t>(descriptor >> 32);
    fw_cfg.write(4, std::as_bytes(std::span(&part, 1)));
    part = static_cast<std::uint32_t>(descriptor);
    fw_cfg.write(8, std::as_bytes(std::span(&part, 1)));
  }
  /// What the device leaves in the descriptor's control word, which lies at 0x100.
  std::uint32_t transfer(std::uint32_t control, std::uint32_t length, std::uint64_t address) {
    abi::FwCfgDma dma{};
    dma.control = control;
    dma.length = length;
    dma.address = address;
    EXPECT_TRUE(map->snapshot()->write_object({0x100}, dma));
    start(0x100);
    return map->snapshot()->read_object<abi::FwCfgDma>({0x100})->control.value();
  }
  static std::uint32_t selecting(std::uint16_t key, std::uint32_t control) {
    return std::uint32_t{key} << 16 | abi::fw_cfg_dma_select | control;
  }

  std::shared_ptr<memory::MemoryMap> map = std::make_shared<memory::MemoryMap>(testing::make_memory(ram));
  FwCfg fw_cfg{map};
};

TEST_F(FwCfgTest, TellsThatItIsThereAndCanDma) {
  EXPECT_EQ(read(4), "QEMU") << "the first item, before anything is selected";
  select(0);
  EXPECT_EQ(read(6), std::string_view("QEMU\0\0", 6)) << "zeroes after the end";
  select(1);
  EXPECT_EQ(read(4), std::string_view("\3\0\0\0", 4));
  std::string id(4, '?');
  fw_cfg.read(4, std::as_writable_bytes(std::span(id)));
  EXPECT_EQ(id, "QEMU");
  fw_cfg.read(8, std::as_writable_bytes(std::span(id)));
  EXPECT_EQ(id, " CFG");
}

TEST_F(FwCfgTest, WhatIsNotThereReadsZero) {
  select(0x1234);
  EXPECT_EQ(read(3), std::string(3, '\0'));
  std::string wide(2, '?');
  select(0);
  fw_cfg.read(1, std::as_writable_bytes(std::span(wide)));
  EXPECT_EQ(wide, std::string(2, '\0')) << "the data port is a byte wide";
  EXPECT_EQ(read(1), "Q");
  EXPECT_EQ(in(fw_cfg, 0), 0) << "the selector is write-only";
}

TEST_F(FwCfgTest, ItemsAreReadOnlyToTheGuest) {
  ASSERT_TRUE(fw_cfg.add(0x1000, bytes_of("abc")));
  EXPECT_EQ(fw_cfg.add(0x1000, {}).error().code(), Errc::already_exists);
  EXPECT_EQ(fw_cfg.add(0, {}).error().code(), Errc::already_exists);
  select(0x1000);
  testing::out(fw_cfg, 1, 'z');
  EXPECT_EQ(read(3), "abc");
  ASSERT_TRUE(map->snapshot()->write({0x200}, bytes_of("xyz")));
  EXPECT_EQ(transfer(selecting(0x1000, abi::fw_cfg_dma_write), 3, 0x200), abi::fw_cfg_dma_error);
  select(0x1000);
  EXPECT_EQ(read(3), "abc");
}

TEST_F(FwCfgTest, TheDirectoryListsFiles) {
  ASSERT_TRUE(fw_cfg.add_file("etc/one", bytes_of("first")));
  ASSERT_TRUE(fw_cfg.add_file("etc/two", bytes_of("2")));
  select(0x19);
  EXPECT_EQ(read(4), std::string_view("\0\0\0\2", 4));
  EXPECT_EQ(read(8), std::string_view("\0\0\0\5\0\x20\0\0", 8));
  EXPECT_STREQ(read(56).c_str(), "etc/one");
  EXPECT_EQ(read(8), std::string_view("\0\0\0\1\0\x21\0\0", 8));
  EXPECT_STREQ(read(56).c_str(), "etc/two");
  select(0x20);
  EXPECT_EQ(read(5), "first");
  select(0x21);
  EXPECT_EQ(read(1), "2");
}

TEST_F(FwCfgTest, RefusesNamesThatCannotBe) {
  EXPECT_EQ(fw_cfg.add_file("", {}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(fw_cfg.add_file(std::string(56, 'n'), {}).error().code(), Errc::invalid_argument);
  ASSERT_TRUE(fw_cfg.add_file(std::string(55, 'n'), {}));
  EXPECT_EQ(fw_cfg.add_file(std::string(55, 'n'), {}).error().code(), Errc::already_exists);
}

TEST_F(FwCfgTest, DmaReadsGoOnWhereTheLastEndedAndZeroWhatIsBeyond) {
  ASSERT_TRUE(fw_cfg.add(0x1000, bytes_of("abcdef")));
  ASSERT_TRUE(map->snapshot()->fill({{0x200}, 16}, std::byte{'.'}));
  EXPECT_EQ(transfer(selecting(0x1000, abi::fw_cfg_dma_read), 2, 0x200), 0U);
  EXPECT_EQ(memory_text(0x200, 3), "ab.");
  EXPECT_EQ(transfer(abi::fw_cfg_dma_skip, 1, 0), 0U);
  EXPECT_EQ(transfer(abi::fw_cfg_dma_read, 5, 0x200), 0U);
  EXPECT_EQ(memory_text(0x200, 6), std::string("def\0\0.", 6));
  EXPECT_EQ(transfer(selecting(0x1000, abi::fw_cfg_dma_skip), 0xffffffff, 0), 0U);
  EXPECT_EQ(read(1), std::string(1, '\0')) << "the byte port and DMA move the same place";
  EXPECT_EQ(transfer(selecting(0x1000, 0), 0, 0), 0U);
  EXPECT_EQ(read(1), "a");
  EXPECT_EQ(transfer(abi::fw_cfg_dma_read, 0, ~std::uint64_t{0}), 0U) << "nothing to move";
}

TEST_F(FwCfgTest, DmaToWhereNoMemoryIsSaysSoAndWritesNothing) {
  ASSERT_TRUE(map->snapshot()->fill({{ram - 16}, 16}, std::byte{'.'}));
  for (const std::uint64_t at : {ram - 8, ram, ~std::uint64_t{0} - 3, std::uint64_t{1} << 60}) {
    EXPECT_EQ(transfer(selecting(0, abi::fw_cfg_dma_read), 16, at), abi::fw_cfg_dma_error) << at;
  }
  EXPECT_EQ(memory_text(ram - 16, 16), std::string(16, '.'));
  EXPECT_EQ(transfer(selecting(0, abi::fw_cfg_dma_read), 0xffffffff, 0), abi::fw_cfg_dma_error) << "too long";
}

TEST_F(FwCfgTest, ADescriptorThatIsNoMemoryChangesNothing) {
  select(0);
  EXPECT_EQ(read(1), "Q");
  for (const std::uint64_t at : {ram, ram - 8, ~std::uint64_t{0}, std::uint64_t{1} << 40}) start(at);
  EXPECT_EQ(read(1), "E");
  // The upper half is of the next transfer only.
  abi::FwCfgDma dma{};
  dma.control = selecting(0, abi::fw_cfg_dma_read);
  dma.length = 4;
  dma.address = 0x200;
  ASSERT_TRUE(map->snapshot()->write_object({0x100}, dma));
  abi::be32 low;
  low = 0x100;
  fw_cfg.write(8, std::as_bytes(std::span(&low, 1)));
  EXPECT_EQ(memory_text(0x200, 4), "QEMU");
}

TEST_F(FwCfgTest, WritesOfOtherWidthsAreIgnored) {
  select(1);
  testing::out(fw_cfg, 0, 0);
  const std::uint32_t wide = 0;
  fw_cfg.write(0, std::as_bytes(std::span(&wide, 1)));
  fw_cfg.write(4, std::as_bytes(std::span(&wide, 1)).first(2));
  fw_cfg.write(8, std::as_bytes(std::span(&wide, 1)).first(1));
  EXPECT_EQ(read(1), "\3") << "still item 1";
}

TEST(DebugPort, AnswersAsFirmwareExpectsAndPassesBytesOn) {
  std::string got;
  DebugPort port([&](ConstBytes bytes) { got += static_cast<char>(bytes[0]); });
  EXPECT_EQ(in(port, 0), 0xe9);
  testing::out(port, 0, 'h');
  testing::out(port, 0, 'i');
  EXPECT_EQ(got, "hi");
}

}  // namespace
}  // namespace trivet::vmm
