// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>
#include <limits>

#include <trivet/core/address.hpp>

namespace trivet {
namespace {

constexpr auto top = std::numeric_limits<std::uint64_t>::max();

TEST(GuestAddress, AddsUpToTheLastAddressAndNoFurther) {
  EXPECT_EQ(GuestAddress{0x1000}.plus(0x234), GuestAddress{0x1234});
  EXPECT_EQ(GuestAddress{top - 1}.plus(1), GuestAddress{top});
  EXPECT_EQ(GuestAddress{top}.plus(0), GuestAddress{top});
  EXPECT_FALSE(GuestAddress{top}.plus(1));
  EXPECT_FALSE(GuestAddress{1}.plus(top));
}

TEST(GuestAddress, OffsetIsNothingBelowTheBase) {
  EXPECT_EQ(GuestAddress{0x2000}.offset_from({0x1000}), 0x1000U);
  EXPECT_EQ(GuestAddress{0x1000}.offset_from({0x1000}), 0U);
  EXPECT_FALSE(GuestAddress{0xfff}.offset_from({0x1000}));
}

TEST(GuestAddress, KnowsItsAlignment) {
  EXPECT_TRUE(GuestAddress{0x1000}.is_aligned(4096));
  EXPECT_FALSE(GuestAddress{0x1010}.is_aligned(4096));
  EXPECT_TRUE(GuestAddress{0x1010}.is_aligned(16));
}

TEST(GuestRange, IsNotMadeEmptyOrWrapping) {
  EXPECT_FALSE(GuestRange::create({0}, 0));
  EXPECT_FALSE(GuestRange::create({top}, 2));
  EXPECT_FALSE(GuestRange::create({1}, top).has_value() && GuestRange::create({2}, top).has_value());
  const auto last_byte = GuestRange::create({top}, 1);
  ASSERT_TRUE(last_byte);
  EXPECT_EQ(last_byte->last(), GuestAddress{top});
  const auto all_but_one = GuestRange::create({0}, top);
  ASSERT_TRUE(all_but_one);
  EXPECT_EQ(all_but_one->last(), GuestAddress{top - 1});
}

TEST(GuestRange, ContainsItsEdgesOnly) {
  constexpr GuestRange range{{0x1000}, 0x1000};
  EXPECT_TRUE(range.contains({0x1000}));
  EXPECT_TRUE(range.contains({0x1fff}));
  EXPECT_FALSE(range.contains({0x2000}));
  EXPECT_FALSE(range.contains({0xfff}));
  EXPECT_TRUE(range.contains({0x1000}, 0x1000));
  EXPECT_TRUE(range.contains({0x2000}, 0));
  EXPECT_FALSE(range.contains({0x1001}, 0x1000));
  EXPECT_FALSE(range.contains({0x1800}, top));
  EXPECT_FALSE(range.contains({top}, 2));
}

TEST(GuestRange, OverlapsWhereAByteIsShared) {
  constexpr GuestRange range{{0x1000}, 0x1000};
  EXPECT_TRUE(range.overlaps({{0x1fff}, 1}));
  EXPECT_TRUE(range.overlaps({{0}, 0x1001}));
  EXPECT_TRUE(range.overlaps({{0}, top}));
  EXPECT_FALSE(range.overlaps({{0x2000}, 0x1000}));
  EXPECT_FALSE(range.overlaps({{0}, 0x1000}));
  EXPECT_FALSE(range.overlaps({{0x1800}, 0}));
}

}  // namespace
}  // namespace trivet
