// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>

#include <trivet/vmm/allocator.hpp>

namespace trivet::vmm {
namespace {

AddressAllocator space(std::uint64_t start, std::uint64_t size) {
  return *AddressAllocator::create({{start}, size});
}

TEST(AddressAllocator, FirstFitTakesTheLowestAlignedPlace) {
  auto addresses = space(0x1001, 0x10000);
  EXPECT_EQ(addresses.allocate(0x100, 0x1000)->start.value, 0x2000u);
  EXPECT_EQ(addresses.allocate(0x10, 1)->start.value, 0x1001u);
  EXPECT_EQ(addresses.allocate(0x10, 0x10)->start.value, 0x1020u);
}

TEST(AddressAllocator, LastFitTakesTheHighestAlignedPlace) {
  auto addresses = space(0x1000, 0x10000);
  EXPECT_EQ(addresses.allocate(0x100, 0x1000, Fit::last)->start.value, 0x10000u);
  EXPECT_EQ(addresses.allocate(0x100, 0x100, Fit::last)->start.value, 0x10f00u);
}

TEST(AddressAllocator, ExactFitTakesWhatIsFreeOnly) {
  auto addresses = space(0x1000, 0x1000);
  EXPECT_TRUE(addresses.allocate_at({{0x1800}, 0x100}));
  EXPECT_EQ(addresses.allocate_at({{0x18ff}, 1}).error().code(), Errc::already_exists);
  EXPECT_EQ(addresses.allocate_at({{0x1700}, 0x101}).error().code(), Errc::already_exists);
  EXPECT_EQ(addresses.allocate_at({{0xfff}, 2}).error().code(), Errc::out_of_range);
  EXPECT_EQ(addresses.allocate_at({{0x1fff}, 2}).error().code(), Errc::out_of_range);
  EXPECT_EQ(addresses.allocate_at({{0x1000}, 0}).error().code(), Errc::out_of_range);
  EXPECT_TRUE(addresses.allocate_at({{0x1700}, 0x100}));
}

TEST(AddressAllocator, GivesOutTheWholeRangeAndThenNothing) {
  auto addresses = space(0, 0x4000);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(addresses.allocate(0x1000, 0x1000));
  const auto none = addresses.allocate(1, 1);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), Errc::limit);
  EXPECT_TRUE(addresses.free({{0x1000}, 0x1000}));
  EXPECT_EQ(addresses.allocate(0x800, 0x800)->start.value, 0x1000u);
}

TEST(AddressAllocator, FreedNeighboursMakeOnePlace) {
  auto addresses = space(0, 0x3000);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(addresses.allocate(0x1000, 1));
  ASSERT_TRUE(addresses.free({{0}, 0x1000}));
  ASSERT_TRUE(addresses.free({{0x1000}, 0x1000}));
  EXPECT_EQ(addresses.allocate(0x2000, 1)->start.value, 0u);
}

TEST(AddressAllocator, RefusesNonsense) {
  auto addresses = space(0, 0x1000);
  EXPECT_EQ(addresses.allocate(0, 1).error().code(), Errc::invalid_argument);
  EXPECT_EQ(addresses.allocate(1, 0).error().code(), Errc::invalid_argument);
  EXPECT_EQ(addresses.allocate(1, 3).error().code(), Errc::invalid_argument);
  EXPECT_EQ(addresses.free({{0}, 1}).error().code(), Errc::not_found);
  EXPECT_FALSE(AddressAllocator::create({{1}, ~std::uint64_t{0}}).has_value() &&
               AddressAllocator::create({{2}, ~std::uint64_t{0}}).has_value());
  EXPECT_EQ(AddressAllocator::create({{0}, 0}).error().code(), Errc::invalid_argument);
}

TEST(AddressAllocator, WorksAtTheEndOfTheAddressSpace) {
  auto addresses = space(~std::uint64_t{0} - 0xfff, 0x1000);
  EXPECT_EQ(addresses.allocate(0x1000, 0x1000)->last().value, ~std::uint64_t{0});
  EXPECT_EQ(addresses.allocate(1, std::uint64_t{1} << 63).error().code(), Errc::limit);
  ASSERT_TRUE(addresses.free({{~std::uint64_t{0} - 0xfff}, 0x1000}));
  EXPECT_EQ(addresses.allocate(1, 1, Fit::last)->start.value, ~std::uint64_t{0});
}

TEST(IdAllocator, LowestFirstAndReused) {
  auto ids = *IdAllocator::create(5, 7);
  EXPECT_EQ(*ids.allocate(), 5u);
  EXPECT_EQ(*ids.allocate(), 6u);
  EXPECT_EQ(*ids.allocate_id(7), 7u);
  EXPECT_EQ(ids.allocate().error().code(), Errc::limit);
  EXPECT_TRUE(ids.free(6));
  EXPECT_EQ(ids.free(6).error().code(), Errc::not_found);
  EXPECT_EQ(*ids.allocate(), 6u);
}

TEST(IdAllocator, RefusesNonsense) {
  EXPECT_EQ(IdAllocator::create(2, 1).error().code(), Errc::invalid_argument);
  auto ids = *IdAllocator::create(0, ~std::uint32_t{0});
  EXPECT_TRUE(ids.allocate_id(~std::uint32_t{0}));
  EXPECT_EQ(ids.allocate_id(~std::uint32_t{0}).error().code(), Errc::already_exists);
  auto few = *IdAllocator::create(1, 2);
  EXPECT_EQ(few.allocate_id(3).error().code(), Errc::out_of_range);
  EXPECT_EQ(few.free(3).error().code(), Errc::not_found);
}

}  // namespace
}  // namespace trivet::vmm
