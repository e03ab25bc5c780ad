// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <gtest/gtest.h>

#include <trivet/virtio/pci/config_space.hpp>

namespace trivet::pci {
namespace {

ConfigSpace make() {
  return ConfigSpace({.vendor = 0x1234,
                      .device = 0x5678,
                      .class_code = 0x01'80'02,
                      .revision = 3,
                      .subsystem_vendor = 0x9abc,
                      .subsystem = 0xdef0});
}
template <class T>
T read(const ConfigSpace& space, std::uint16_t offset) {
  T value{};
  space.read(offset, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}
template <class T>
void write(ConfigSpace& space, std::uint16_t offset, T value) {
  space.write(offset, std::as_bytes(std::span(&value, 1)));
}

TEST(PciConfigSpace, SaysWhoItIs) {
  const auto space = make();
  EXPECT_EQ(read<std::uint32_t>(space, 0x00), 0x56781234U);
  EXPECT_EQ(read<std::uint32_t>(space, 0x08), 0x01800203U);
  EXPECT_EQ(read<std::uint32_t>(space, 0x2c), 0xdef09abcU);
  EXPECT_EQ(read<std::uint8_t>(space, 0x0e), 0U);
  EXPECT_EQ(read<std::uint16_t>(space, 0x06), 0U) << "no capability, no such bit";
}

TEST(PciConfigSpace, OnlyWhatIsAllowedChanges) {
  auto space = make();
  for (std::uint16_t at = 0; at < 256; at = static_cast<std::uint16_t>(at + 4)) write(space, at, 0xffffffffU);
  EXPECT_EQ(read<std::uint32_t>(space, 0x00), 0x56781234U);
  EXPECT_EQ(read<std::uint32_t>(space, 0x04), 0x0406U) << "memory, bus master, interrupt disable";
  EXPECT_EQ(read<std::uint32_t>(space, 0x0c), 0xffU);
  EXPECT_EQ(read<std::uint32_t>(space, 0x10), 0U) << "no BAR";
  EXPECT_EQ(read<std::uint32_t>(space, 0x30), 0U) << "no ROM";
  EXPECT_EQ(read<std::uint32_t>(space, 0x3c), 0xffU);
  write<std::uint8_t>(space, 0x05, 0);
  EXPECT_EQ(read<std::uint16_t>(space, 0x04), 0x0006U) << "one byte of two";
}

TEST(PciConfigSpace, ABarTellsItsSizeAndWhereItIs) {
  auto space = make();
  ASSERT_TRUE(space.add_bar(1, {.size = 0x8000}));
  write(space, 0x14, 0xffffffffU);
  EXPECT_EQ(read<std::uint32_t>(space, 0x14), 0xffff8000U);
  write(space, 0x14, 0xd8001234U);
  EXPECT_EQ(read<std::uint32_t>(space, 0x14), 0xd8000000U);
  EXPECT_FALSE(space.bar_address(1)) << "memory decoding is off";
  write<std::uint16_t>(space, 0x04, 2);
  EXPECT_EQ(space.bar_address(1), GuestAddress{0xd8000000});
  EXPECT_FALSE(space.bar_address(0));
  EXPECT_FALSE(space.bar_address(6));
}

TEST(PciConfigSpace, AWideBarTakesTwoRegisters) {
  auto space = make();
  ASSERT_TRUE(space.add_bar(2, {.size = std::uint64_t{1} << 33, .wide = true, .prefetchable = true}));
  EXPECT_EQ(read<std::uint32_t>(space, 0x18), 0xcU);
  write(space, 0x18, 0xffffffffU);
  write(space, 0x1c, 0xffffffffU);
  EXPECT_EQ(read<std::uint32_t>(space, 0x18), 0xcU);
  EXPECT_EQ(read<std::uint32_t>(space, 0x1c), 0xfffffffeU);
  write(space, 0x1c, 0x12U);
  write<std::uint16_t>(space, 0x04, 2);
  EXPECT_EQ(space.bar_address(2), GuestAddress{0x1200000000});
}

TEST(PciConfigSpace, BarsThatCannotBeAreRefused) {
  auto space = make();
  ASSERT_TRUE(space.add_bar(2, {.size = 4096, .wide = true}));
  for (const auto& [index, bar] : std::initializer_list<std::pair<unsigned, Bar>>{
           {0, {.size = 8}},
           {0, {.size = 4097}},
           {0, {.size = 0}},
           {0, {.size = std::uint64_t{1} << 32}},
           {1, {.size = 4096, .wide = true}},
           {2, {.size = 4096}},
           {3, {.size = 4096}},
           {5, {.size = 4096, .wide = true}},
           {6, {.size = 4096}},
       }) {
    EXPECT_EQ(space.add_bar(index, bar).error().code(), Errc::invalid_argument) << index;
  }
}

TEST(PciConfigSpace, CapabilitiesMakeAChainUntilThereIsNoRoom) {
  auto space = make();
  const std::array<std::byte, 5> body{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}};
  EXPECT_EQ(*space.add_capability(0x09, body), 0x40);
  EXPECT_EQ(*space.add_capability(0x11, {}), 0x48) << "aligned";
  EXPECT_EQ(read<std::uint16_t>(space, 0x06), 0x10U);
  EXPECT_EQ(read<std::uint8_t>(space, 0x34), 0x40);
  EXPECT_EQ(read<std::uint32_t>(space, 0x40), 0x02014809U);
  EXPECT_EQ(read<std::uint16_t>(space, 0x48), 0x0011U);
  const std::array<std::byte, 0xb2> rest{};
  EXPECT_EQ(space.add_capability(0x09, std::span(rest).first(0xb2)).value_or(0), 0x4c) << "up to the last byte";
  EXPECT_EQ(space.add_capability(0x09, {}).error().code(), Errc::limit);
}

TEST(PciConfigSpace, BeyondTheEndAreOnes) {
  auto space = make();
  EXPECT_EQ(read<std::uint32_t>(space, 0x100), 0xffffffffU);
  EXPECT_EQ(read<std::uint32_t>(space, 0xffe), 0xffffffffU);
  write(space, 0x100, 0U);
  write(space, 0xffff, 0U);
  EXPECT_EQ(read<std::uint32_t>(space, 0xfe), 0xffff0000U);
}

}  // namespace
}  // namespace trivet::pci
