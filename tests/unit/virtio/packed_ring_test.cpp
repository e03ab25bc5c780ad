// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What only a packed ring has (virtio 1.2, 2.8). What both rings have is tested over both: queue_test.cpp and others.
#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include <trivet/memory/mapping.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/test/driver.hpp>
#include <trivet/virtio/queue.hpp>

namespace trivet::virtio {
namespace {

using test::Driver;
using test::TestGuest;
using test::Used;
using testing::AllOf;
using testing::HasSubstr;

std::string refusal(const QueueConfig& config, const TestGuest& guest) {
  const auto queue = Queue::create(config, guest.map());
  if (queue) return "accepted";
  EXPECT_EQ(queue.error().code(), Errc::malformed);
  EXPECT_EQ(queue.error().blame(), Blame::guest);
  return to_string(queue.error());
}

/// A place as a number that only grows: rounds and offsets. The model of all arithmetic.
struct Model {
  std::uint32_t steps;
  [[nodiscard]] std::uint16_t place(std::uint16_t size) const {
    return static_cast<std::uint16_t>(steps % size | (steps / size % 2 == 0 ? abi::packed_wrap : 0));
  }
};

TEST(PackedPlaces, AreTheModelExhaustively) {
  for (std::uint16_t size = 1; size <= 9; ++size) {
    const std::uint32_t all = 2U * size;
    EXPECT_EQ(Model{0}.place(size), abi::packed_start);
    for (std::uint32_t from = 0; from < all; ++from) {
      for (std::uint32_t count = 0; count <= size; ++count) {
        const auto at = Model{from}.place(size);
        const auto then = Model{from + count}.place(size);
        ASSERT_EQ(abi::packed_after(at, count, size), then) << size << " " << from << " " << count;
        ASSERT_EQ(abi::packed_before(then, count, size), at) << size << " " << from << " " << count;
      }
      for (std::uint32_t distance = 0; distance < all; ++distance) {
        ASSERT_EQ(abi::packed_distance(Model{from}.place(size), Model{from + distance}.place(size), size), distance);
      }
    }
  }
}

TEST(PackedPlaces, TheLargestRing) {
  constexpr std::uint16_t size = 32768;
  EXPECT_EQ(abi::packed_after(abi::packed_wrap | 32767, 1, size), 0);
  EXPECT_EQ(abi::packed_after(32767, 32768, size), abi::packed_wrap | 32767);
  EXPECT_EQ(abi::packed_before(0, 32768, size), abi::packed_wrap);
  EXPECT_EQ(abi::packed_distance(1, 0, size), 65535U);
  EXPECT_TRUE(abi::packed_need_event(0, 1, 1, size));
  EXPECT_FALSE(abi::packed_need_event(1, 1, 65535, size));
  EXPECT_TRUE(abi::packed_need_event(1, 1, 65536, size));
}

/// Step by step: the event is passed when one of the steps leaves it.
bool passes(std::uint16_t event, std::uint32_t end, std::uint32_t count, std::uint16_t size) {
  for (std::uint32_t step = end - count; step != end; ++step) {
    if (Model{step}.place(size) == event) return true;
  }
  return false;
}

TEST(PackedNeedEvent, IsTheModelExhaustively) {
  for (std::uint16_t size = 1; size <= 9; ++size) {
    for (std::uint32_t end = 4U * size; end < 6U * size; ++end) {
      for (std::uint32_t count = 0; count <= 3U * size; ++count) {
        for (std::uint32_t event = 0; event < 2U * size; ++event) {
          const auto place = Model{event}.place(size);
          ASSERT_EQ(abi::packed_need_event(place, Model{end}.place(size), count, size), passes(place, end, count, size))
              << size << " " << end << " " << count << " " << event;
        }
        ASSERT_EQ(abi::packed_need_event(size, Model{end}.place(size), count, size), count != 0) << "no place at all";
      }
    }
  }
}

/// The queue itself, at every place of small rings: chains of every length, every wish.
TEST(PackedShouldNotify, WithEventIdxIsTheModelExhaustively) {
  for (const std::uint16_t size : std::initializer_list<std::uint16_t>{1, 2, 3, 4, 7}) {
    for (std::uint32_t start = 0; start < 2U * size; ++start) {
      for (std::uint32_t length = 1; length <= size; ++length) {
        for (std::uint32_t event = 0; event < 2U * size; ++event) {
          TestGuest guest(64 << 10);
          Driver driver(guest, size, Driver::packed_features, Model{start}.place(size));
          Queue queue = driver.queue();
          (void)queue.should_notify();  // a queue that was restored says yes once
          driver.set_driver_event(Model{event}.place(size), abi::ring_event_flags_desc);
          const std::uint32_t chains = size / length;
          for (std::uint32_t i = 0; i < chains; ++i) {
            ASSERT_TRUE(driver.add(std::vector<Driver::Buffer>(length, {{0x1000}, 1, true})));
            ASSERT_TRUE(queue.stage_used((*queue.pop())->id(), 0));
          }
          ASSERT_FALSE(queue.should_notify()) << "nothing is published";
          queue.publish();
          const std::uint32_t count = chains * length;
          ASSERT_EQ(queue.should_notify(), passes(Model{event}.place(size), start + 2U * size + count, count, size))
              << size << " " << start << " " << length << " " << event;
          ASSERT_FALSE(queue.should_notify()) << "once for each publish";
        }
      }
    }
  }
}

TEST(PackedShouldNotify, HonoursTheFlags) {
  const auto asks = [](std::uint64_t features, std::uint16_t flags) {
    TestGuest guest;
    Driver driver(guest, 8, features);
    Queue queue = driver.queue();
    driver.add({{{0x1000}, 1, true}});
    driver.set_driver_event(abi::packed_wrap | 7, flags);  // of DESC: a place that is not reached
    EXPECT_TRUE(queue.push_used((*queue.pop())->id(), 0));
    return queue.should_notify();
  };
  constexpr auto plain = abi::f_ring_packed;
  constexpr auto with_events = Driver::packed_features;
  for (const auto features : {plain, with_events}) {
    EXPECT_TRUE(asks(features, abi::ring_event_flags_enable));
    EXPECT_FALSE(asks(features, abi::ring_event_flags_disable));
    EXPECT_TRUE(asks(features, 3)) << "reserved: rather one too many";
    EXPECT_FALSE(asks(features, abi::ring_event_flags_disable | 0xfffc)) << "the rest of the bits is reserved";
  }
  EXPECT_FALSE(asks(with_events, abi::ring_event_flags_desc));
  EXPECT_TRUE(asks(plain, abi::ring_event_flags_desc)) << "it was not negotiated";
}

TEST(PackedShouldNotify, WholeRoundsWithoutAskingNotify) {
  TestGuest guest;
  Driver driver(guest, 4, Driver::packed_features);
  Queue queue = driver.queue();
  driver.set_driver_event(abi::packed_wrap | 2, abi::ring_event_flags_desc);
  for (int i = 0; i < 8; ++i) {
    driver.add({{{0x1000}, 1, true}});
    ASSERT_TRUE(queue.push_used((*queue.pop())->id(), 0));
    ASSERT_TRUE(driver.take_used());
  }
  EXPECT_TRUE(queue.should_notify());
}

TEST(PackedEnableKicks, TellsTheNextPlaceWithItsWrapCounter) {
  TestGuest guest;
  Driver driver(guest, 3, Driver::packed_features);
  Queue queue = driver.queue();
  for (std::uint32_t i = 0; i < 14; ++i) {
    queue.disable_kicks();
    EXPECT_EQ(driver.device_event() >> 16, abi::ring_event_flags_disable);
    ASSERT_FALSE(queue.enable_kicks());
    EXPECT_EQ(driver.device_event(), Model{i}.place(3) | std::uint32_t{abi::ring_event_flags_desc} << 16);
    driver.add({{{0x1000}, 1, true}});
    EXPECT_TRUE(driver.must_kick());
    ASSERT_TRUE(queue.push_used((*queue.pop())->id(), 0));
    ASSERT_TRUE(driver.take_used());
  }
  Driver plain(guest, 3, abi::f_ring_packed);
  Queue plain_queue = plain.queue();
  EXPECT_FALSE(plain_queue.enable_kicks());
  EXPECT_EQ(plain.device_event() >> 16, abi::ring_event_flags_enable);
}

TEST(PackedQueueCreate, TakesAnySize) {
  for (const int size : {1, 2, 3, 100, 255, 4095, 32767, 32768}) {
    TestGuest guest;
    const Driver driver(guest, static_cast<std::uint16_t>(size), Driver::packed_features);
    EXPECT_EQ(refusal(driver.config(), guest), "accepted") << size;
  }
  TestGuest guest;
  auto config = Driver(guest, 4, Driver::packed_features).config();
  for (const int size : {0, 32769, 65535}) {
    config.size = static_cast<std::uint16_t>(size);
    EXPECT_THAT(refusal(config, guest), HasSubstr("is not 1 to 32768"));
  }
  config.size = 4;
  config.max_size = 3;
  EXPECT_THAT(refusal(config, guest), HasSubstr("is not 1 to 3"));
}

TEST(PackedQueueCreate, RefusesPartsThatAreMisalignedOrOverlap) {
  TestGuest guest;
  const Driver driver(guest, 5, Driver::packed_features);
  const auto moved = [&](GuestAddress QueueConfig::*area, std::uint64_t to) {
    auto config = driver.config();
    config.*area = {to};
    return refusal(config, guest);
  };
  EXPECT_THAT(moved(&QueueConfig::descriptor_area, 0x2008), HasSubstr("is not 16-byte aligned"));
  EXPECT_THAT(moved(&QueueConfig::driver_area, 0x2002), HasSubstr("driver area at 0x2002 is not 4-byte aligned"));
  EXPECT_THAT(moved(&QueueConfig::device_area, 0x2002), HasSubstr("device area at 0x2002 is not 4-byte aligned"));
  const auto ring = driver.descriptor_area().value;
  EXPECT_THAT(moved(&QueueConfig::driver_area, ring + 76), HasSubstr("overlaps driver area"));
  EXPECT_EQ(moved(&QueueConfig::driver_area, 0x3000), "accepted");
  EXPECT_THAT(moved(&QueueConfig::device_area, driver.driver_area().value), HasSubstr("overlaps device area"));
  EXPECT_EQ(moved(&QueueConfig::device_area, TestGuest::default_size - 4), "accepted") << "it has 4 bytes";
}

TEST(PackedQueueCreate, TheDeviceWritesTheDescriptors) {
  TestGuest guest;
  constexpr std::uint64_t rom = TestGuest::default_size;
  ASSERT_TRUE(guest.map()->insert(
      *memory::Region::create({rom}, *memory::Mapping::anonymous(4096), {Access::read_only, false})));
  auto config = Driver(guest, 4, Driver::packed_features).config();
  const auto good = config;
  config.descriptor_area = {rom};
  EXPECT_THAT(refusal(config, guest), HasSubstr("descriptor area, 0x40 bytes at 0x400000, is not in writable memory"));
  config = good;
  config.driver_area = {rom};
  EXPECT_EQ(refusal(config, guest), "accepted") << "the device only reads it";
}

TEST(PackedQueueCreate, RefusesPlacesThatCannotBe) {
  TestGuest guest;
  auto config = Driver(guest, 5, Driver::packed_features).config();
  EXPECT_EQ(config.next_available, 0x8000);
  config.next_available = config.next_used = 4;
  EXPECT_EQ(refusal(config, guest), "accepted");
  config.next_available = config.next_used = 5;
  EXPECT_THAT(refusal(config, guest), HasSubstr("is beyond 5"));
  config.next_available = abi::packed_wrap | 3;
  config.next_used = abi::packed_wrap | 2;
  EXPECT_THAT(refusal(config, guest), HasSubstr("cannot be taken over"));
  config = Driver(guest, 4, abi::f_in_order).config();
  config.next_available = 1;
  EXPECT_THAT(refusal(config, guest), HasSubstr("cannot be taken over"));
}

class PackedRingTest : public testing::Test {
 protected:
  std::uint16_t pop_id() { return (*queue.pop())->id(); }
  [[nodiscard]] std::uint16_t flags_at(std::uint16_t slot) const {
    return *guest.memory().load<std::uint16_t>({driver.descriptor_area().value + std::uint64_t{16} * slot + 14});
  }
  TestGuest guest{TestGuest::default_size, {0}, true};
  Driver driver{guest, 4, Driver::packed_features};
  Queue queue = driver.queue();
  static constexpr std::uint16_t both = abi::packed_desc_f_avail | abi::packed_desc_f_used;
};

TEST_F(PackedRingTest, TheFirstUsedDescriptorOfABatchBecomesVisibleLast) {
  for (int i = 0; i < 3; ++i) driver.add({{{0x1000}, 1, true}});
  const auto before = flags_at(0);
  for (std::uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(queue.stage_used(pop_id(), i + 1));
  EXPECT_EQ(flags_at(0), before) << "the driver looks here";
  EXPECT_EQ(flags_at(1) & both, both);
  EXPECT_EQ(driver.take_used(), std::nullopt);
  queue.publish();
  for (std::uint32_t i = 0; i < 3; ++i) EXPECT_EQ(driver.take_used()->written, i + 1);
}

TEST_F(PackedRingTest, TheLengthCountsOnlyWithItsFlag) {
  const auto id = driver.add({{{0x1000}, 1, true}});
  ASSERT_TRUE(queue.push_used(pop_id(), 0));
  EXPECT_EQ(flags_at(0), both) << "no WRITE: nothing was written";
  EXPECT_EQ(driver.take_used(), (Used{*id, 0}));
  driver.add({{{0x1000}, 1, true}});
  ASSERT_TRUE(queue.push_used(pop_id(), 1));
  EXPECT_EQ(flags_at(1), both | abi::desc_f_write);
}

TEST_F(PackedRingTest, AChainIsSkippedAndItsIdIsTheLastOnes) {
  const auto first = driver.add({{{0x1000}, 1, false}, {{0x2000}, 1, false}, {{0x3000}, 1, true}});
  const auto second = driver.add({{{0x4000}, 1, true}});
  const auto first_token = pop_id();
  const auto second_token = pop_id();
  ASSERT_TRUE(queue.push_used(second_token, 4));
  ASSERT_TRUE(queue.push_used(first_token, 1));
  EXPECT_EQ(driver.used_entry(0), (Used{*second, 4})) << "in the order of completion";
  EXPECT_EQ(driver.used_entry(1), (Used{*first, 1})) << "behind the one descriptor of the other";
  EXPECT_EQ(driver.take_used(), (Used{*second, 4}));
  EXPECT_EQ(driver.take_used(), (Used{*first, 1}));
}

TEST_F(PackedRingTest, WhatTheDriverChangesAfterThePopDoesNotCount) {
  const auto text = guest.place("abcdefgh");
  driver.add({{text, 4, false}, {{text.value + 4}, 4, true}});
  auto chain = **queue.pop();
  for (std::uint16_t i = 0; i < 4; ++i) driver.set_descriptor(i, {0, 0xffffffff, abi::desc_f_indirect, 7});
  EXPECT_EQ(**chain.next(), (Descriptor{text, 4, false}));
  EXPECT_EQ(**chain.next(), (Descriptor{{text.value + 4}, 4, true}));
  EXPECT_FALSE(*chain.next());
}

TEST_F(PackedRingTest, ADriversIdsHarmOnlyTheDriver) {
  driver.offer({{0x1000, 1, 0, 0xfffe}});
  driver.offer({{0x2000, 1, 0, 0xfffe}});
  auto first = **queue.pop();
  auto second = **queue.pop();
  EXPECT_NE(first.id(), second.id());
  EXPECT_EQ((*second.next())->address.value, 0x2000U);
  ASSERT_TRUE(queue.push_used(second.id(), 2));
  ASSERT_TRUE(queue.push_used(first.id(), 1));
  EXPECT_EQ(driver.used_entry(0), (Used{0xfffe, 2}));
  EXPECT_EQ(driver.used_entry(1), (Used{0xfffe, 1}));
}

TEST_F(PackedRingTest, AChainLongerThanTheRingIsAnErrorEachTime) {
  constexpr auto next = abi::desc_f_next;
  driver.offer({{1, 1, next, 0}, {1, 1, next, 0}, {1, 1, next, 0}, {1, 1, next, 0}});
  for (int again = 0; again < 2; ++again) {
    const auto popped = queue.pop();
    ASSERT_FALSE(popped);
    EXPECT_EQ(popped.error().blame(), Blame::guest);
    EXPECT_THAT(to_string(popped.error()),
                AllOf(HasSubstr("descriptor 0 takes more than the 4 of 4"), HasSubstr("2.8.17")));
  }
  EXPECT_EQ(queue.in_flight(), 0);
}

TEST_F(PackedRingTest, WhatIsStagedIsNotFreeBeforeTheDriverKnows) {
  for (int i = 0; i < 4; ++i) driver.add({{{0x1000}, 1, true}});
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(queue.stage_used(pop_id(), 1));
  driver.offer({{0x1000, 1, 0, 0}});  // over what it cannot know to be used
  EXPECT_FALSE(queue.pop());
  queue.publish();
  EXPECT_TRUE(queue.pop());
}

TEST_F(PackedRingTest, ReservedBitsAreIgnored) {
  const std::uint16_t reserved = static_cast<std::uint16_t>(~(both | 7U));
  driver.offer({{0x1000, 1, static_cast<std::uint16_t>(reserved | abi::desc_f_write), 0}});
  auto chain = **queue.pop();
  EXPECT_EQ(**chain.next(), (Descriptor{{0x1000}, 1, true}));
  EXPECT_FALSE(*chain.next());
}

TEST_F(PackedRingTest, AnIndirectDescriptorIsAlone) {
  const auto table = driver.place_table(std::vector<test::RawDescriptor>{{0x1000, 5, 0, 0}});
  const auto error_of = [&](std::vector<test::RawDescriptor> descriptors) {
    driver.offer(descriptors);
    auto chain = **queue.pop();
    auto step = chain.next();
    while (step && *step) step = chain.next();
    EXPECT_FALSE(step);
    EXPECT_TRUE(queue.push_used(chain.id(), 0));
    return step ? "" : to_string(step.error());
  };
  EXPECT_THAT(error_of({{0x1000, 1, abi::desc_f_next, 0}, {table.value, 16, abi::desc_f_indirect, 0}}),
              AllOf(HasSubstr("not alone in its chain"), HasSubstr("2.8.19")));
  EXPECT_THAT(
      error_of({{table.value, 16, std::uint16_t(abi::desc_f_indirect | abi::desc_f_next), 0}, {0x1000, 1, 0, 0}}),
      HasSubstr("INDIRECT and NEXT"));
}

TEST_F(PackedRingTest, OfATablesFlagsOnlyWriteCounts) {
  const std::uint16_t all = 0xffff;
  const auto table = driver.place_table(std::vector<test::RawDescriptor>{
      {0x1000, 5, static_cast<std::uint16_t>(all & ~abi::desc_f_write), 9}, {0x2000, 6, all, 9}});
  driver.offer({{table.value, 32, std::uint16_t(abi::desc_f_indirect | abi::desc_f_write), 3}});
  auto chain = **queue.pop();
  EXPECT_EQ(**chain.next(), (Descriptor{{0x1000}, 5, false}));
  EXPECT_EQ(**chain.next(), (Descriptor{{0x2000}, 6, true}));
  EXPECT_FALSE(*chain.next());
}

TEST(PackedDirty, UsedDescriptorsAreMarkedWhereTheyWereWritten) {
  constexpr std::uint64_t page = memory::DirtyBitmap::page_size;
  TestGuest guest(TestGuest::default_size, {0}, true);
  constexpr std::uint16_t size = 600;  // two pages of descriptors and some
  (void)guest.allocate(1, page);
  const auto before = guest.allocate(page - 16, 16);
  Driver driver(guest, size, Driver::packed_features);
  Queue queue = driver.queue();
  auto& dirty = *guest.memory().regions()[0]->dirty();
  const auto first = driver.descriptor_area().value / page;
  ASSERT_EQ(driver.descriptor_area().value % page, 0U) << before.value;
  const auto serve = [&](std::uint16_t count) {
    for (std::uint16_t i = 0; i < count; ++i) {
      driver.add({{{0x1000}, 1, true}});
      ASSERT_TRUE(queue.stage_used((**queue.pop()).id(), 0));
    }
    dirty.clear();
    queue.publish();
    while (driver.take_used()) {
    }
  };
  const auto marked = [&] {
    std::vector<bool> pages;
    for (unsigned i = 0; i < 3; ++i) pages.push_back(dirty.is_dirty(first + i));
    return pages;
  };
  using Marked = std::vector<bool>;
  serve(256);
  EXPECT_EQ(marked(), (Marked{true, false, false}));
  serve(1);
  EXPECT_EQ(marked(), (Marked{false, true, false}));
  serve(300);
  EXPECT_EQ(marked(), (Marked{false, true, true}));
  serve(50);  // round the end of the ring
  EXPECT_EQ(marked(), (Marked{true, false, true}));
  dirty.clear();
  EXPECT_FALSE(queue.enable_kicks());
  EXPECT_TRUE(dirty.is_dirty(driver.device_area().value / page));
}

}  // namespace
}  // namespace trivet::virtio
