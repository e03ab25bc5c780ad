// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <atomic>
#include <cstdint>
#include <gtest/gtest.h>
#include <limits>
#include <thread>
#include <vector>

#include <trivet/memory/dirty_bitmap.hpp>

namespace trivet::memory {
namespace {

constexpr std::uint64_t page = DirtyBitmap::page_size;

std::vector<std::uint64_t> dirty_pages(const DirtyBitmap& bitmap) {
  std::vector<std::uint64_t> pages;
  for (std::uint64_t i = 0; i < bitmap.pages(); ++i) {
    if (bitmap.is_dirty(i)) pages.push_back(i);
  }
  return pages;
}

using Pages = std::vector<std::uint64_t>;

TEST(DirtyBitmap, StartsCleanAndRoundsUpToPages) {
  const DirtyBitmap bitmap(2 * page + 1);
  EXPECT_EQ(bitmap.pages(), 3U);
  EXPECT_EQ(dirty_pages(bitmap), Pages{});
}

TEST(DirtyBitmap, MarksExactlyThePagesTouched) {
  DirtyBitmap bitmap(200 * page);
  bitmap.mark(0, 1);
  bitmap.mark(2 * page - 1, 2);
  bitmap.mark(5 * page, page);
  EXPECT_EQ(dirty_pages(bitmap), (Pages{0, 1, 2, 5}));
}

TEST(DirtyBitmap, MarksAcrossWords) {
  DirtyBitmap bitmap(256 * page);
  bitmap.mark(62 * page, 68 * page);
  Pages expected;
  for (std::uint64_t i = 62; i < 130; ++i) expected.push_back(i);
  EXPECT_EQ(dirty_pages(bitmap), expected);
}

TEST(DirtyBitmap, EveryRangeOfASmallBitmapIsExact) {
  for (std::uint64_t first = 0; first < 130; ++first) {
    for (std::uint64_t count = 1; first + count <= 130; count += 7) {
      DirtyBitmap bitmap(130 * page);
      bitmap.mark(first * page, count * page);
      for (std::uint64_t i = 0; i < 130; ++i) {
        ASSERT_EQ(bitmap.is_dirty(i), i >= first && i < first + count) << first << " " << count << " " << i;
      }
    }
  }
}

TEST(DirtyBitmap, IgnoresNothingAndWhatLiesBeyondTheEnd) {
  DirtyBitmap bitmap(3 * page);
  bitmap.mark(page, 0);
  bitmap.mark(3 * page, 10 * page);
  bitmap.mark(std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(dirty_pages(bitmap), Pages{});
  bitmap.mark(2 * page, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(dirty_pages(bitmap), Pages{2});
  EXPECT_FALSE(bitmap.is_dirty(3));
}

TEST(DirtyBitmap, TakeGivesTheBitsAndCleans) {
  DirtyBitmap bitmap(70 * page);
  bitmap.mark(0, 1);
  bitmap.mark(65 * page, 1);
  EXPECT_EQ(bitmap.take(), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(bitmap.take(), (std::vector<std::uint64_t>{0, 0}));
}

TEST(DirtyBitmap, ClearForgets) {
  DirtyBitmap bitmap(70 * page);
  bitmap.mark(0, 70 * page);
  bitmap.clear();
  EXPECT_EQ(dirty_pages(bitmap), Pages{});
}

TEST(DirtyBitmap, ConcurrentMarksAreInOneTakeOrAnother) {
  constexpr std::uint64_t pages = 4096;
  DirtyBitmap bitmap(pages * page);
  std::vector<std::uint64_t> seen(pages / 64);
  std::atomic<int> running{2};
  const auto mark_each = [&](std::uint64_t parity) {
    for (std::uint64_t i = parity; i < pages; i += 2) bitmap.mark(i * page, 1);
    running.fetch_sub(1);
  };
  std::thread even(mark_each, 0);
  std::thread odd(mark_each, 1);
  const auto collect = [&] {
    const auto bits = bitmap.take();
    for (std::size_t i = 0; i < bits.size(); ++i) {
      EXPECT_EQ(seen[i] & bits[i], 0U) << "a page came twice";
      seen[i] |= bits[i];
    }
  };
  while (running.load() != 0) collect();
  even.join();
  odd.join();
  collect();
  for (const auto word : seen) EXPECT_EQ(word, std::numeric_limits<std::uint64_t>::max());
}

// The hazard that a mark without a barrier has: the writer finds its page dirty and does not mark, the taker cleans the
// page and copies it before the writer's bytes are visible.
TEST(DirtyBitmap, WhatIsWrittenBeforeAMarkIsSeenAfterSomeTake) {
  DirtyBitmap bitmap(page);
  std::atomic<std::uint32_t> value{0};
  std::atomic<bool> stop{false};
  constexpr std::uint32_t rounds = 200'000;
  std::thread writer([&] {
    for (std::uint32_t i = 1; i <= rounds; ++i) {
      value.store(i, std::memory_order_relaxed);
      bitmap.mark(0, 1);
    }
    stop.store(true);
  });
  std::uint32_t copied = 0;
  const auto copy_if_dirty = [&] {
    if (bitmap.take()[0] != 0) copied = value.load(std::memory_order_relaxed);
  };
  while (!stop.load()) copy_if_dirty();
  writer.join();
  copy_if_dirty();
  EXPECT_EQ(copied, rounds);
}

TEST(DirtyBitmap, ARangeIsClearedExactly) {
  for (std::uint64_t first = 0; first < 130; first += 3) {
    for (std::uint64_t count = 1; first + count <= 130; count += 7) {
      DirtyBitmap bitmap(130 * page);
      bitmap.mark(0, 130 * page);
      bitmap.clear(first * page, count * page);
      for (std::uint64_t i = 0; i < 130; ++i) {
        ASSERT_EQ(bitmap.is_dirty(i), i < first || i >= first + count) << first << " " << count << " " << i;
      }
    }
  }
  DirtyBitmap bitmap(3 * page);
  bitmap.mark(0, 3 * page);
  bitmap.clear(page, 0);
  bitmap.clear(3 * page, page);
  EXPECT_EQ(dirty_pages(bitmap), (Pages{0, 1, 2}));
  bitmap.clear(2 * page, ~std::uint64_t{0});
  EXPECT_EQ(dirty_pages(bitmap), (Pages{0, 1}));
}

TEST(DirtyBitmap, GrowsAndKeepsWhatWasMarked) {
  DirtyBitmap bitmap(3 * page);
  bitmap.mark(2 * page, 1);
  bitmap.enlarge(200 * page - 1);
  EXPECT_EQ(bitmap.pages(), 200U);
  EXPECT_EQ(dirty_pages(bitmap), (Pages{2}));
  bitmap.mark(199 * page, 1);
  bitmap.enlarge(page);
  EXPECT_EQ(bitmap.pages(), 200U);
  EXPECT_EQ(dirty_pages(bitmap), (Pages{2, 199}));
}

TEST(DirtyBitmap, APartCountsFromItsStart) {
  DirtyBitmap bitmap(10 * page);
  const auto part = bitmap.part(4 * page);
  part.mark(page, 1);
  part.part(2 * page).mark(page - 1, 2);
  EXPECT_EQ(dirty_pages(bitmap), (Pages{5, 6, 7}));
  EXPECT_TRUE(part.is_dirty(1));
  EXPECT_FALSE(part.is_dirty(0));
  part.mark(~std::uint64_t{0}, 1);
  part.part(~std::uint64_t{0}).mark(~std::uint64_t{0}, 1);
  EXPECT_EQ(dirty_pages(bitmap), (Pages{5, 6, 7})) << "beyond the end, and beyond all addresses";
}

}  // namespace
}  // namespace trivet::memory
