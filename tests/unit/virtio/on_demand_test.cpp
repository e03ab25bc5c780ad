// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A driver whose buffers, tables or rings are granted pages: mapped while they are in use, and not once it is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

#include <trivet/memory/memory_map.hpp>
#include <trivet/test/driver.hpp>
#include <trivet/test/fake_pages.hpp>
#include <trivet/virtio/abi/packed_ring.hpp>
#include <trivet/virtio/buffers.hpp>
#include <trivet/virtio/queue.hpp>

namespace trivet::virtio {
namespace {

using memory::DomainPages;
using memory::Region;
using test::Driver;
using test::FakePages;
using test::TestGuest;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t granted = std::uint64_t{1} << 63;

/// An entry of a descriptor table, as its two words in memory. A packed one's id counts for nothing here.
std::array<std::uint64_t, 2> words_of(bool packed, const test::RawDescriptor& it) {
  const std::uint64_t flags = it.flags;
  return {it.address, it.length | flags << (packed ? 48 : 32) | (packed ? 0 : std::uint64_t{it.next} << 48)};
}

class OnDemand : public testing::TestWithParam<test::RingKind> {
 protected:
  void SetUp() override {
    if (!memory::maps_on_demand) GTEST_SKIP() << "the mmap build maps no other domain's pages";
    ASSERT_TRUE(guest.map()->insert(*Region::create({granted}, 64 * page, DomainPages{pages, 0, true})));
  }
  [[nodiscard]] bool packed() const { return (GetParam().features & abi::f_ring_packed) != 0; }
  /// Buffers of 8 bytes at these addresses, as a table; the last one with these flags.
  [[nodiscard]] std::vector<std::uint64_t> table_of(std::initializer_list<std::uint64_t> addresses,
                                                    std::uint16_t last_flags) const {
    std::vector<std::uint64_t> words;
    std::uint16_t next = 0;
    for (const auto address : addresses) {
      const bool more = ++next != addresses.size();
      // A packed table's entries follow each other without a flag (2.8.8).
      const auto flags = more ? (packed() ? std::uint16_t{0} : abi::desc_f_next) : last_flags;
      const auto entry = words_of(packed(), {address, 8, flags, more ? next : std::uint16_t{0}});
      words.insert(words.end(), entry.begin(), entry.end());
    }
    return words;
  }

  std::shared_ptr<FakePages> pages = std::make_shared<FakePages>(0, 64);
  TestGuest guest;
  Driver driver{guest, 16, GetParam().features};
};
/// What a driver can do with a split ring only.
class OnDemandSplit : public OnDemand {};

TEST_P(OnDemand, BuffersAreMappedUntilTheyAreGivenBack) {
  auto queue = driver.queue();
  pages->own(1)[page - 1] = std::byte{'a'};
  pages->own(2)[0] = std::byte{'b'};
  const auto head = driver.add({{{granted + 2 * page - 1}, 2, false}, {{granted + 3 * page + 5}, 4, true}});
  ASSERT_TRUE(head);
  const auto chain = **queue.pop();
  auto buffers = *Buffers::create(chain);
  EXPECT_EQ(*buffers.reader.read_object<std::uint16_t>(), 'a' | 'b' << 8);
  std::array<memory::Slice, 2> slices;
  ASSERT_EQ(*buffers.writer.slices(4, slices), 1U);
  EXPECT_GE(pages->mapped(), 3U);
  const std::array<std::byte, 4> in{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  slices[0].write(0, in);
  slices[0] = {};
  ASSERT_TRUE(queue.push_used(chain.id(), 4));
  EXPECT_EQ(pages->mapped(), 0U) << "the driver may end its grants now";
  EXPECT_EQ(pages->own(3)[5], std::byte{1});
  EXPECT_EQ(driver.take_used(), (test::Used{*head, 4}));
}

TEST_P(OnDemand, ABadGrantIsTheGuestsFault) {
  auto queue = driver.queue();
  pages->set(4, FakePages::State::none);
  pages->set(5, FakePages::State::read_only);
  ASSERT_TRUE(driver.add({{{granted + 4 * page}, 16, false}, {{granted + 5 * page}, 16, true}}));
  auto buffers = *Buffers::create(**queue.pop());
  const auto read = buffers.reader.read_object<std::uint32_t>();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().blame(), Blame::guest);
  const auto wrote = buffers.writer.fill(16, std::byte{1});
  ASSERT_FALSE(wrote);
  EXPECT_EQ(wrote.error().blame(), Blame::guest);
  EXPECT_EQ(wrote.error().code(), Errc::permission);
  EXPECT_EQ(pages->mapped(), 0U);
}

TEST_P(OnDemand, IndirectTablesAreReadWhereTheyLie) {
  auto queue = driver.queue();
  const auto table = [&](std::uint64_t at, std::uint16_t flags) {
    driver.offer({{at, 48, abi::desc_f_indirect, 0}});
    const auto words = table_of({granted + page, granted + 2 * page, granted + 3 * page}, flags);
    std::memcpy(pages->own(7) + page - 16, words.data(), words.size() * 8);  // across two pages
    return **queue.pop();
  };
  auto chain = table(granted + 8 * page - 16, abi::desc_f_write);
  std::vector<std::uint64_t> seen;
  for (;;) {
    const auto next = chain.next();
    ASSERT_TRUE(next) << to_string(next.error());
    if (!*next) break;
    seen.push_back((*next)->address.value);
  }
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{granted + page, granted + 2 * page, granted + 3 * page}));
  ASSERT_TRUE(queue.push_used(chain.id(), 0));
  EXPECT_EQ(pages->mapped(), 0U);

  pages->set(8, FakePages::State::none);
  auto broken = table(granted + 8 * page - 16, 0);
  ASSERT_TRUE(broken.next()) << "the first entry is on a page that is there";
  const auto missing = broken.next();
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Errc::malformed);
  EXPECT_EQ(missing.error().blame(), Blame::guest);
  pages->set(8, FakePages::State::read_write);
  ASSERT_TRUE(queue.push_used(broken.id(), 0));
  if (packed()) return;  // its tables have no links

  auto wild = table(granted + 8 * page - 16, abi::desc_f_next);  // its last goes on to entry 0: longer than the queue
  auto step = wild.next();
  for (int i = 0; step && *step && i < 40; ++i) step = wild.next();
  ASSERT_FALSE(step);
  EXPECT_EQ(step.error().code(), Errc::malformed);
}

TEST_P(OnDemand, TablesMayCrossFromOneKindOfMemoryIntoTheOther) {
  // The guest's own memory, and right behind it more of it, then granted pages.
  constexpr std::uint64_t seam = TestGuest::default_size;
  ASSERT_TRUE(guest.map()->insert(*Region::create({seam}, *memory::Mapping::anonymous(page))));
  ASSERT_TRUE(guest.map()->insert(*Region::create({seam + page}, 4 * page, DomainPages{pages, 20, true})));
  auto queue = driver.queue();
  for (const std::uint64_t at : {seam - 16, seam + page - 16, seam - 24, seam + page - 24}) {
    const auto words = table_of({0x1000, 0x2000}, 0);
    ASSERT_TRUE(guest.map()->snapshot()->write({at}, std::as_bytes(std::span(words))));
    driver.offer({{at, 32, abi::desc_f_indirect, 0}});
    auto chain = **queue.pop();
    for (const std::uint64_t buffer : {0x1000U, 0x2000U}) {
      const auto next = chain.next();
      ASSERT_TRUE(next && *next) << at;
      EXPECT_EQ((*next)->address.value, buffer);
    }
    const auto end = chain.next();
    EXPECT_TRUE(end && !*end);
    ASSERT_TRUE(queue.push_used(chain.id(), 0));
  }
  driver.offer({{seam + 5 * page - 16, 32, abi::desc_f_indirect, 0}});
  EXPECT_FALSE(Buffers::create(**queue.pop())) << "its end is in no memory";
}

TEST_P(OnDemand, ATableWhoseGrantEndsWhileItIsReadIsTheGuestsFault) {
  auto queue = driver.queue();
  const auto words = table_of({granted + page, granted + 2 * page}, 0);
  std::memcpy(pages->own(9), words.data(), words.size() * 8);
  driver.offer({{granted + 9 * page, 32, abi::desc_f_indirect, 0}});
  const auto chain = **queue.pop();
  auto buffers = *Buffers::create(chain);
  ASSERT_TRUE(buffers.reader.read_object<std::uint64_t>());
  guest.map()->drop_windows();
  pages->set(9, FakePages::State::none);
  const auto second = buffers.reader.read_object<std::uint64_t>();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::malformed);
  EXPECT_EQ(second.error().blame(), Blame::guest);
  EXPECT_THAT(to_string(second.error()), testing::HasSubstr("outside memory"));
  ASSERT_TRUE(queue.push_used(chain.id(), 0));
}

TEST_P(OnDemandSplit, ARingThatGoesFailsWhatIsGivenBack) {
  auto config = driver.config();
  config.descriptor_area = {granted + 10 * page};
  config.driver_area = {granted + 11 * page};
  config.device_area = {granted + 12 * page};
  auto queue = *Queue::create(config, guest.map());
  memory::store_at<std::uint16_t>(pages->own(11) + 2, 1, std::memory_order_release);
  ASSERT_TRUE(*queue.pop());
  pages->set(12, FakePages::State::read_only);
  guest.map()->drop_windows();
  const auto pushed = queue.push_used(0, 0);
  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().blame(), Blame::guest);
  EXPECT_THAT(to_string(pushed.error()), testing::HasSubstr("device area"));
  EXPECT_TRUE(queue.enable_kicks()) << "so that the device pops, and hears why";
  EXPECT_FALSE(queue.pop());
  pages->set(12, FakePages::State::read_write);
  EXPECT_TRUE(queue.push_used(0, 0)) << "it is there again";
  EXPECT_EQ(memory::load_at<std::uint16_t>(pages->own(12) + 2), 1);
}

TEST_P(OnDemandSplit, ARingStaysMappedAndIsLookedUpAnewWhenPagesGo) {
  auto config = driver.config();
  config.descriptor_area = {granted + 10 * page};
  config.driver_area = {granted + 11 * page};
  config.device_area = {granted + 12 * page};
  auto queue = *Queue::create(config, guest.map());
  EXPECT_EQ(pages->mapped(), 3U);
  const auto available = [&](std::uint16_t index) {
    memory::store_at<std::uint64_t>(pages->own(10), granted + page);
    memory::store_at<std::uint64_t>(pages->own(10) + 8, 16);
    memory::store_at<std::uint16_t>(pages->own(11) + 2, index, std::memory_order_release);
  };
  available(1);
  const auto chain = *queue.pop();
  ASSERT_TRUE(chain);
  guest.map()->drop_windows();
  available(2);
  auto next = queue.pop();
  ASSERT_TRUE(next && *next);
  EXPECT_EQ(pages->mapped(), 6U) << "the old ring, for the chain in flight, and the new one";
  auto old = *chain;
  EXPECT_EQ((*old.next())->address.value, granted + page);
  ASSERT_TRUE(queue.push_used(0, 0));
  ASSERT_TRUE(queue.push_used(0, 0));
  EXPECT_EQ(pages->mapped(), 3U);
  EXPECT_EQ(memory::load_at<std::uint16_t>(pages->own(12) + 2), 2);

  auto moved = std::move(queue);
  queue = std::move(moved);
  EXPECT_EQ(pages->mapped(), 3U);
  pages->set(10, FakePages::State::none);
  guest.map()->drop_windows();
  const auto gone = queue.pop();
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().blame(), Blame::guest);
}

/// Its descriptors are what both sides write.
class OnDemandPacked : public OnDemand {
 protected:
  void SetUp() override {
    OnDemand::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    config = driver.config();
    config.descriptor_area = {granted + 10 * page};
    config.driver_area = {granted + 11 * page};
    config.device_area = {granted + 12 * page};
  }
  /// One buffer of 16 bytes, in the first round.
  void make_available(unsigned place, std::uint16_t id) {
    std::byte* const at = pages->own(10) + 16 * place;
    memory::store_at<std::uint64_t>(at, granted + page);
    memory::store_at<std::uint32_t>(at + 8, 16);
    memory::store_at<std::uint16_t>(at + 12, id);
    memory::store_at<std::uint16_t>(at + 14, abi::packed_desc_f_avail, std::memory_order_release);
  }
  [[nodiscard]] bool is_used(unsigned place, std::uint16_t id) const {
    constexpr std::uint16_t both = abi::packed_desc_f_avail | abi::packed_desc_f_used;
    const std::byte* const at = pages->own(10) + 16 * place;
    return (memory::load_at<std::uint16_t>(at + 14) & both) == both && memory::load_at<std::uint16_t>(at + 12) == id;
  }
  QueueConfig config;
};

TEST_P(OnDemandPacked, ARingThatGoesFailsWhatIsGivenBack) {
  auto queue = *Queue::create(config, guest.map());
  make_available(0, 5);
  const auto chain = *queue.pop();
  ASSERT_TRUE(chain);
  pages->set(10, FakePages::State::read_only);
  guest.map()->drop_windows();
  const auto pushed = queue.push_used(chain->id(), 0);
  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().blame(), Blame::guest);
  EXPECT_TRUE(queue.enable_kicks()) << "so that the device pops, and hears why";
  EXPECT_FALSE(queue.pop());
  EXPECT_FALSE(is_used(0, 5));
  pages->set(10, FakePages::State::read_write);
  EXPECT_TRUE(queue.push_used(chain->id(), 0)) << "it is there again";
  EXPECT_TRUE(is_used(0, 5));
}

TEST_P(OnDemandPacked, ARingStaysMappedAndIsLookedUpAnewWhenPagesGo) {
  auto queue = *Queue::create(config, guest.map());
  EXPECT_EQ(pages->mapped(), 3U);
  make_available(0, 5);
  const auto first = *queue.pop();
  ASSERT_TRUE(first);
  guest.map()->drop_windows();
  make_available(1, 6);
  const auto second = *queue.pop();
  ASSERT_TRUE(second);
  EXPECT_EQ((*Chain(*first).next())->address.value, granted + page);
  ASSERT_TRUE(queue.push_used(first->id(), 0));
  ASSERT_TRUE(queue.push_used(second->id(), 0));
  EXPECT_TRUE(is_used(0, 5) && is_used(1, 6));
  EXPECT_EQ(pages->mapped(), 3U);

  auto moved = std::move(queue);
  queue = std::move(moved);
  EXPECT_EQ(pages->mapped(), 3U);
  pages->set(10, FakePages::State::none);
  guest.map()->drop_windows();
  const auto gone = queue.pop();
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().blame(), Blame::guest);
}

std::string ring_name(const testing::TestParamInfo<test::RingKind>& ring) {
  return ring.param.name;
}
INSTANTIATE_TEST_SUITE_P(Rings, OnDemand, testing::Values(test::split_ring, test::packed_ring), ring_name);
INSTANTIATE_TEST_SUITE_P(Rings, OnDemandSplit, testing::Values(test::split_ring), ring_name);
INSTANTIATE_TEST_SUITE_P(Rings, OnDemandPacked, testing::Values(test::packed_ring), ring_name);

}  // namespace
}  // namespace trivet::virtio
