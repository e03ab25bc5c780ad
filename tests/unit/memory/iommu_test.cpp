// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cstdint>
#include <gtest/gtest.h>
#include <limits>
#include <memory>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include <trivet/memory/iommu.hpp>

namespace trivet::memory {
namespace {

constexpr std::uint64_t page = 4096;
constexpr IoPermission reads{true, false};
constexpr IoPermission writes{false, true};
constexpr IoPermission both{true, true};

IoMapping map(std::uint64_t start, std::uint64_t size, std::uint64_t target, IoPermission permission = both) {
  return {{start}, size, {target}, permission};
}

TEST(Iotlb, FindsTheTranslationThatHoldsAnAddress) {
  Iotlb iotlb;
  ASSERT_TRUE(iotlb.insert(map(0x1000, 0x2000, 0x9000)));
  EXPECT_EQ(iotlb.find({0xfff}), nullptr);
  EXPECT_EQ(iotlb.find({0x3000}), nullptr);
  ASSERT_NE(iotlb.find({0x2fff}), nullptr);
  EXPECT_EQ(iotlb.find({0x2fff})->translate({0x2fff}).value, 0xafffU);
}

TEST(Iotlb, RefusesWhatIsEmptyOrWraps) {
  constexpr auto top = std::numeric_limits<std::uint64_t>::max();
  Iotlb iotlb;
  for (const auto& bad : {map(0x1000, 0, 0), map(top, 2, 0), map(0, 2, top), map(2, top, 0)}) {
    const auto inserted = iotlb.insert(bad);
    ASSERT_FALSE(inserted);
    EXPECT_EQ(inserted.error().code(), Errc::invalid_argument);
    EXPECT_EQ(inserted.error().blame(), Blame::guest);
  }
  EXPECT_TRUE(iotlb.insert(map(top, 1, top)));
  EXPECT_NE(iotlb.find({top}), nullptr);
  iotlb.invalidate({0x1000}, top);  // wraps: to the end
  EXPECT_EQ(iotlb.size(), 0U);
}

TEST(Iotlb, InvalidationCutsTranslations) {
  Iotlb iotlb;
  ASSERT_TRUE(iotlb.insert(map(0x1000, 0x3000, 0x9000, reads)));
  iotlb.invalidate({0x2000}, 0x1000);
  EXPECT_EQ(iotlb.size(), 2U);
  EXPECT_EQ(*iotlb.find({0x1000}), map(0x1000, 0x1000, 0x9000, reads));
  EXPECT_EQ(iotlb.find({0x2000}), nullptr);
  EXPECT_EQ(*iotlb.find({0x3000}), map(0x3000, 0x1000, 0xb000, reads));
}

TEST(Iotlb, KeepsToItsCapacity) {
  Iotlb iotlb(4);
  for (std::uint64_t i = 0; i < 32; ++i) {
    ASSERT_TRUE(iotlb.insert(map(i * page * 4, 3 * page, i * page)));
    EXPECT_LE(iotlb.size(), 4U);
    ASSERT_NE(iotlb.find({i * page * 4}), nullptr) << "the new one is there";
  }
  // A hole in the middle makes two of one.
  iotlb.invalidate({31 * page * 4 + page}, page);
  EXPECT_LE(iotlb.size(), 4U);
}

// Against a table of every address: whatever it says is right, and with room enough it says everything.
TEST(Iotlb, IsItsModelInRandomChanges) {
  constexpr std::uint64_t addresses = 48;
  for (const std::size_t capacity : {std::size_t{3}, std::size_t{64}}) {
    std::mt19937_64 random(capacity);
    Iotlb iotlb(capacity);
    std::array<std::uint64_t, addresses> model{};  // 0: nothing
    for (int change = 0; change < 20000; ++change) {
      const std::uint64_t start = random() % addresses;
      const std::uint64_t size = 1 + random() % (addresses - start);
      const bool removes = random() % 3 == 0;
      const std::uint64_t target = 0x1000 + random() % 0x1000;
      if (removes) {
        iotlb.invalidate({start}, size);
      } else {
        ASSERT_TRUE(iotlb.insert(map(start, size, target)));
      }
      for (std::uint64_t i = 0; i < size; ++i) model[start + i] = removes ? 0 : target + i;
      ASSERT_LE(iotlb.size(), capacity);
      for (std::uint64_t at = 0; at < addresses; ++at) {
        const IoMapping* found = iotlb.find({at});
        if (found == nullptr && capacity < addresses) continue;
        ASSERT_EQ(found != nullptr ? found->translate({at}).value : 0, model[at]) << at;
      }
    }
  }
}

/// A page table of an IOMMU, from page to page.
class PageTable final : public IoTranslator {
 public:
  Result<IoMapping> translate(IoVirtualAddress at, Permission permission) override {
    ++asked;
    if (lies) return map(0x7000'0000, page, 0);
    const auto found = pages.find(at.value / page);
    if (found == pages.end()) return Error(Errc::out_of_range, "translate", "not mapped", Blame::guest);
    if (!found->second.permission.allows(permission)) {
      return Error(Errc::permission, "translate", "not for that", Blame::guest);
    }
    return found->second;
  }
  void add(std::uint64_t iova, std::uint64_t target, IoPermission permission = both) {
    pages[iova / page] = map(iova, page, target, permission);
  }

  std::map<std::uint64_t, IoMapping> pages;
  std::atomic<int> asked = 0;
  bool lies = false;
};

class IommuTest : public ::testing::Test {
 protected:
  IommuTest() {
    auto mapping = Mapping::anonymous(16 * page);
    host = mapping->data();
    EXPECT_TRUE(memory.insert(*Region::create({0x10000}, *std::move(mapping), {Access::read_write, true})));
  }

  std::vector<std::byte> pattern(std::size_t size, int seed = 1) const {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + static_cast<std::size_t>(seed));
    return bytes;
  }

  MemoryMap memory;
  std::byte* host = nullptr;
  std::shared_ptr<PageTable> table = std::make_shared<PageTable>();
  std::shared_ptr<DirtyBitmap> dirty = std::make_shared<DirtyBitmap>(64 * page);
  Iommu iommu{table, 16, dirty};
  IommuView view{iommu, memory};
};

TEST_F(IommuTest, AccessesCrossTranslationsThatLieApart) {
  table->add(0x4000, 0x13000);
  table->add(0x5000, 0x11000);
  const auto bytes = pattern(0x180);
  ASSERT_TRUE(view.write({0x4f80}, bytes));
  EXPECT_EQ(std::memcmp(host + 0x3f80, bytes.data(), 0x80), 0);
  EXPECT_EQ(std::memcmp(host + 0x1000, bytes.data() + 0x80, 0x100), 0);
  std::vector<std::byte> got(0x180);
  ASSERT_TRUE(view.read({0x4f80}, got));
  EXPECT_EQ(got, bytes);
}

TEST_F(IommuTest, AsksOnceForWhatItKeeps) {
  table->add(0x4000, 0x13000);
  std::array<std::byte, 8> word{};
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(view.read({0x4010}, word));
  EXPECT_EQ(table->asked, 1);
  EXPECT_EQ(iommu.misses(), 1U);
  IommuView other(iommu, memory);
  ASSERT_TRUE(other.read({0x4018}, word));
  EXPECT_EQ(table->asked, 1) << "views share what is known";
}

TEST_F(IommuTest, WhatIsMadeKnownIsNotAskedFor) {
  ASSERT_TRUE(iommu.insert(map(0x8000, 2 * page, 0x12000)));
  ASSERT_TRUE(view.store<std::uint32_t>({0x9000}, 0x600d));
  EXPECT_EQ(*view.load<std::uint32_t>({0x9000}), 0x600dU);
  EXPECT_EQ(table->asked, 0);
}

TEST_F(IommuTest, APermissionIsAskedForByItself) {
  table->add(0x4000, 0x13000, reads);
  std::array<std::byte, 8> word{};
  ASSERT_TRUE(view.read({0x4000}, word));
  const auto refused = view.write({0x4000}, word);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::permission);
  EXPECT_EQ(refused.error().blame(), Blame::guest);
  table->add(0x4000, 0x13000, both);  // the guest maps it anew, for more
  EXPECT_TRUE(view.write({0x4000}, word));
  table->add(0x6000, 0x14000, writes);
  EXPECT_TRUE(view.write({0x6000}, word));
  EXPECT_EQ(view.read({0x6000}, word).error().code(), Errc::permission);
}

TEST_F(IommuTest, AFailedAccessHasTouchedNothing) {
  table->add(0x4000, 0x13000);
  table->add(0x6000, 0x90000);  // mapped to what is no memory
  const auto bytes = pattern(0x100);
  for (const std::uint64_t at : {std::uint64_t{0x4f80}, std::uint64_t{0x5f80}, ~std::uint64_t{0x7f}}) {
    const auto written = view.write({at}, bytes);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code(), Errc::out_of_range);
    EXPECT_EQ(written.error().blame(), Blame::guest);
  }
  ASSERT_TRUE(iommu.insert(map(0x5000, page, 0x12000)));
  EXPECT_EQ(view.write({0x5f80}, bytes).error().code(), Errc::out_of_range) << "the second half is no memory";
  for (std::size_t i = 0; i < 16 * page; ++i) ASSERT_EQ(host[i], std::byte{0}) << i;
  for (std::uint64_t i = 0; i < dirty->pages(); ++i) ASSERT_FALSE(dirty->is_dirty(i));
}

TEST_F(IommuTest, WhatIsInvalidatedIsNotUsedAgain) {
  table->add(0x4000, 0x13000);
  ASSERT_TRUE(view.store<std::uint8_t>({0x4000}, 1));
  table->pages.clear();
  ASSERT_TRUE(view.store<std::uint8_t>({0x4000}, 2)) << "the IOMMU has not said so yet";
  iommu.invalidate({0x4000}, page);
  EXPECT_EQ(view.store<std::uint8_t>({0x4000}, 3).error().code(), Errc::out_of_range);
  EXPECT_EQ(host[0x3000], std::byte{2});
  table->add(0x4000, 0x15000);
  ASSERT_TRUE(view.store<std::uint8_t>({0x4000}, 4));
  EXPECT_EQ(host[0x5000], std::byte{4});
  iommu.invalidate_all();
  ASSERT_TRUE(view.store<std::uint8_t>({0x4000}, 5));
  EXPECT_EQ(table->asked, 4);
}

TEST_F(IommuTest, AnAnswerThatIsNoAnswerIsAnError) {
  table->lies = true;
  const auto read = view.load<std::uint8_t>({0x4000});
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Errc::malformed);
  EXPECT_EQ(read.error().blame(), Blame::host);
}

TEST_F(IommuTest, ANumberThatTwoTranslationsShareIsRefused) {
  ASSERT_TRUE(iommu.insert(map(0x4000, 6, 0x13000)));
  ASSERT_TRUE(iommu.insert(map(0x4006, 6, 0x13006)));
  EXPECT_EQ(view.load<std::uint64_t>({0x4000}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(view.store<std::uint64_t>({0x4000}, 1).error().code(), Errc::invalid_argument);
  EXPECT_TRUE(view.load<std::uint32_t>({0x4000}));
}

TEST_F(IommuTest, GivesRunsForSystemCalls) {
  table->add(0x4000, 0x13000);
  table->add(0x5000, 0x11000);
  std::array<Slice, 2> runs;
  ASSERT_EQ(*view.slices({0x4f00}, 0x200, Permission::write, runs), 2U);
  EXPECT_EQ(runs[0].host(), host + 0x3f00);
  EXPECT_EQ(runs[0].size(), 0x100U);
  EXPECT_EQ(runs[1].host(), host + 0x1000);
  EXPECT_EQ(view.slices({0x4f00}, 0x200, Permission::write, std::span(runs).first(1)).error().code(), Errc::limit);
  EXPECT_EQ(view.slices({0x5f00}, 0x200, Permission::write, runs).error().code(), Errc::out_of_range);
}

TEST_F(IommuTest, TracksWhatWasWrittenByItsOwnAddresses) {
  table->add(0x4000, 0x13000);
  table->add(0x5000, 0x11000);
  ASSERT_TRUE(view.write({0x4fff}, pattern(2)));
  ASSERT_TRUE(iommu.insert(map(1 << 30, page, 0x14000)));
  ASSERT_TRUE(view.store<std::uint8_t>({1 << 30}, 1)) << "beyond the bitmap: not tracked, and no harm";
  std::vector<std::uint64_t> pages;
  for (std::uint64_t i = 0; i < dirty->pages(); ++i) {
    if (dirty->is_dirty(i)) pages.push_back(i);
  }
  EXPECT_EQ(pages, (std::vector<std::uint64_t>{4, 5}));
  const auto* region = memory.snapshot()->find({0x10000});
  EXPECT_TRUE(region->dirty()->is_dirty(1) && region->dirty()->is_dirty(3) && !region->dirty()->is_dirty(0))
      << "and the region by its own";
}

TEST_F(IommuTest, SeesAMapThatChanged) {
  table->add(0x4000, 0x30000);
  EXPECT_EQ(view.load<std::uint8_t>({0x4000}).error().code(), Errc::out_of_range);
  ASSERT_TRUE(memory.insert(*Region::create({0x30000}, *Mapping::anonymous(page))));
  EXPECT_TRUE(view.store<std::uint8_t>({0x4000}, 1));
  ASSERT_TRUE(memory.remove({{0x30000}, page}));
  EXPECT_EQ(view.load<std::uint8_t>({0x4000}).error().code(), Errc::out_of_range);
}

TEST_F(IommuTest, ViewsWorkWhileTheGuestMapsAndUnmaps) {
  table->add(0x4000, 0x13000);
  table->add(0x5000, 0x14000);
  std::atomic<bool> stop = false;
  std::vector<std::thread> users;
  for (int i = 0; i < 2; ++i) {
    users.emplace_back([&] {
      IommuView mine(iommu, memory);
      std::array<std::byte, 64> bytes{};
      while (!stop) {
        EXPECT_TRUE(mine.read({0x4fe0}, bytes));
        EXPECT_TRUE(mine.load<std::uint64_t>({0x4000}));
      }
    });
  }
  for (std::uint64_t i = 0; i < 2000; ++i) iommu.invalidate({0x4000}, (i % 2 + 1) * page);
  stop = true;
  for (auto& user : users) user.join();
}

}  // namespace
}  // namespace trivet::memory
