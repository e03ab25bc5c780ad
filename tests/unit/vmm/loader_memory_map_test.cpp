// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>

#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/loader/memory_map.hpp>

namespace trivet::vmm {
namespace {

using layout::gibibyte;
using layout::mebibyte;

TEST(RamRanges, StopAtTheHoleAndGoOnFrom4GiB) {
  EXPECT_EQ(*ram_ranges(256 * mebibyte), (std::vector<GuestRange>{{{0}, 256 * mebibyte}}));
  EXPECT_EQ(*ram_ranges(0xd000'0000), (std::vector<GuestRange>{{{0}, 0xd000'0000}}));
  EXPECT_EQ(*ram_ranges(0xd000'0000, layout::firmware_hole),
            (std::vector<GuestRange>{{{0}, 0xb000'0000}, {{4 * gibibyte}, 0x2000'0000}}));
  EXPECT_EQ(*ram_ranges(0xd000'1000), (std::vector<GuestRange>{{{0}, 0xd000'0000}, {{4 * gibibyte}, 0x1000}}));
}

TEST(RamRanges, RefuseWhatCannotBe) {
  for (const std::uint64_t bytes : {std::uint64_t{0}, mebibyte, 2 * mebibyte + 1, ~std::uint64_t{0},
                                    ~std::uint64_t{0xfff}, std::uint64_t{1} << 52}) {
    const auto ranges = ram_ranges(bytes);
    ASSERT_FALSE(ranges.has_value()) << bytes;
    EXPECT_EQ(ranges.error().code(), Errc::invalid_argument);
    EXPECT_FALSE(memory_map(bytes).has_value());
  }
  EXPECT_TRUE(ram_ranges((std::uint64_t{1} << 52) - layout::hole.size).has_value());
  EXPECT_FALSE(ram_ranges((std::uint64_t{1} << 52) - layout::hole.size + 0x1000).has_value());
}

TEST(MemoryMap, IsSortedWithoutOverlapsAndKeepsAllRamAboveTheFirstMegabyte) {
  for (const auto bytes : {2 * mebibyte, 256 * mebibyte, 4 * gibibyte, 64 * gibibyte}) {
    const auto map = *memory_map(bytes);
    std::uint64_t end = 0;
    std::uint64_t ram = 0;
    for (const auto& entry : map) {
      EXPECT_TRUE(entry.range.valid());
      EXPECT_GE(entry.range.start.value, end);
      end = entry.range.last().value + 1;
      if (entry.type == MemoryType::ram && entry.range.start >= layout::upper_ram) ram += entry.range.size;
      EXPECT_FALSE(entry.type == MemoryType::ram && entry.range.overlaps(layout::acpi_tables));
      EXPECT_FALSE(entry.range.overlaps(layout::hole));
    }
    EXPECT_EQ(ram, bytes - mebibyte);
  }
}

TEST(Layout, BootStructuresLieApartInLowRam) {
  const std::vector<GuestRange> all{layout::boot_gdt,         layout::start_info,   layout::boot_params,
                                    layout::boot_page_tables, layout::command_line, layout::legacy_data_area,
                                    layout::acpi_tables};
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_LT(all[i].last(), layout::upper_ram);
    for (std::size_t j = 0; j < i; ++j) EXPECT_FALSE(all[i].overlaps(all[j])) << i << ' ' << j;
    EXPECT_FALSE(all[i].contains({0x5000})) << "the conformance suite's mailbox";
    EXPECT_FALSE(all[i].contains({0x8000})) << "the built-in guest's trampoline";
  }
}

}  // namespace
}  // namespace trivet::vmm
