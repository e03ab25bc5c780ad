// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string>
#include <sys/mman.h>
#include <vector>

#include <trivet/memory/discard.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/test/temp_file.hpp>

namespace trivet::memory {
namespace {

constexpr std::uint64_t page = 4096;

struct DiscardTest : ::testing::Test {
  void add(std::uint64_t start, Result<Mapping> mapping, Access access = Access::read_write) {
    ASSERT_TRUE(mapping);
    auto region = Region::create({start}, std::move(*mapping), {access, false});
    ASSERT_TRUE(region) << to_string(region.error());
    hosts.push_back((*region)->host());
    ASSERT_TRUE(map.insert(std::move(*region)));
  }
  void fill(std::uint64_t start, std::uint64_t size) {
    ASSERT_TRUE(map.snapshot()->fill({{start}, size}, std::byte{0x5a}));
  }
  Result<std::uint64_t> give(std::uint64_t start, std::uint64_t size) {
    return discard(*map.snapshot(), {{start}, size});
  }
  std::uint8_t at(std::uint64_t address) { return *map.snapshot()->load<std::uint8_t>({address}); }
  /// The pages of a region that are in memory.
  std::size_t resident(std::size_t region, std::size_t pages) {
    std::vector<unsigned char> in(pages);
    EXPECT_EQ(::mincore(hosts.at(region), pages * page, in.data()), 0);
    return static_cast<std::size_t>(std::count_if(in.begin(), in.end(), [](auto one) { return (one & 1) != 0; }));
  }

  MemoryMap map;
  std::vector<std::byte*> hosts;
};

TEST_F(DiscardTest, AnonymousPagesGoAndComeBackAsZeros) {
  add(0, Mapping::anonymous(16 * page));
  fill(0, 16 * page);
  EXPECT_EQ(resident(0, 16), 16u);
  EXPECT_EQ(give(4 * page, 3 * page).value(), 3 * page);
  EXPECT_EQ(resident(0, 16), 13u);
  EXPECT_EQ(at(4 * page - 1), 0x5a);
  EXPECT_EQ(at(4 * page), 0);
  EXPECT_EQ(at(7 * page - 1), 0);
  EXPECT_EQ(at(7 * page), 0x5a);
}

TEST_F(DiscardTest, SharedPagesLeaveTheirFile) {
  add(0x10000, Mapping::memfd("test", 16 * page));
  fill(0x10000, 16 * page);
  EXPECT_EQ(give(0x10000 + page, 2 * page).value(), 2 * page);
  EXPECT_EQ(resident(0, 16), 14u) << "gone from the page cache too, not only from this mapping";
  EXPECT_EQ(at(0x10000 + page), 0);
  EXPECT_EQ(at(0x10000 + 3 * page), 0x5a);
}

TEST_F(DiscardTest, OnlyWholePagesGo) {
  add(0, Mapping::anonymous(4 * page));
  fill(0, 4 * page);
  EXPECT_EQ(give(1, page - 1).value(), 0u);
  EXPECT_EQ(give(1, 2 * page).value(), page);
  EXPECT_EQ(at(page - 1), 0x5a);
  EXPECT_EQ(at(page), 0);
  EXPECT_EQ(at(2 * page), 0x5a);
}

TEST_F(DiscardTest, ARangeMayCrossRegions) {
  add(0, Mapping::anonymous(4 * page));
  add(4 * page, Mapping::memfd("test", 4 * page));
  fill(0, 8 * page);
  EXPECT_EQ(give(3 * page, 2 * page).value(), 2 * page);
  EXPECT_EQ(at(3 * page), 0);
  EXPECT_EQ(at(4 * page), 0);
  EXPECT_EQ(at(5 * page), 0x5a);
}

TEST_F(DiscardTest, WhatIsNotWritableMemoryIsRefusedWhole) {
  add(0, Mapping::anonymous(4 * page));
  fill(0, 4 * page);
  add(8 * page, Mapping::anonymous(page), Access::read_only);
  EXPECT_EQ(give(3 * page, 2 * page).error().code(), Errc::out_of_range);
  EXPECT_EQ(at(3 * page), 0x5a) << "nothing went";
  EXPECT_EQ(give(8 * page, page).error().code(), Errc::permission);
  EXPECT_EQ(give(0, 0).error().code(), Errc::out_of_range);
  const auto wrapping = give(~std::uint64_t{0} - page + 1, 2 * page);
  ASSERT_FALSE(wrapping);
  EXPECT_EQ(wrapping.error().blame(), Blame::guest);
}

TEST_F(DiscardTest, WhatSomebodyElseOwnsStays) {
  auto mapping = Mapping::anonymous(page);
  ASSERT_TRUE(mapping);
  MappedRegion mapped;
  mapped.range = {{0}, page};
  mapped.host = mapping->data();
  auto region = Region::create(mapped);
  ASSERT_TRUE(region) << to_string(region.error());
  ASSERT_TRUE(map.insert(std::move(*region)));
  fill(0, page);
  const auto result = give(0, page);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::unsupported);
  EXPECT_EQ(result.error().blame(), Blame::host);
  EXPECT_EQ(at(0), 0x5a);
  ASSERT_TRUE(map.remove({{0}, page}));
}

TEST_F(DiscardTest, AFileThatMayNotBeWrittenIsTheHostsError) {
  const test::TempFile file(page);
  const UniqueFd read_only(::open(file.path().c_str(), O_RDONLY | O_CLOEXEC));
  add(0, Mapping::file(read_only.value(), 0, page, false));
  const auto result = give(0, page);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().blame(), Blame::host);
  EXPECT_NE(to_string(result.error()).find("fallocate"), std::string::npos);
}

}  // namespace
}  // namespace trivet::memory
