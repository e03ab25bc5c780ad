// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
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

static_assert(!std::is_copy_constructible_v<Queue> && std::is_nothrow_move_constructible_v<Queue>);

std::string refusal(const QueueConfig& config, const TestGuest& guest) {
  const auto queue = Queue::create(config, guest.map());
  if (queue) return "accepted";
  EXPECT_EQ(queue.error().code(), Errc::malformed);
  EXPECT_EQ(queue.error().blame(), Blame::guest);
  return to_string(queue.error());
}

TEST(QueueCreate, AcceptsEveryPowerOfTwo) {
  for (std::uint32_t size = 1; size <= abi::max_queue_size; size *= 2) {
    TestGuest guest;
    const Driver driver(guest, static_cast<std::uint16_t>(size));
    EXPECT_EQ(refusal(driver.config(), guest), "accepted") << size;
  }
}

TEST(QueueCreate, RefusesOtherSizes) {
  TestGuest guest;
  const Driver driver(guest, 16);
  for (const int size : {0, 3, 15, 17, 32769, 65535}) {
    auto config = driver.config();
    config.size = static_cast<std::uint16_t>(size);
    EXPECT_THAT(refusal(config, guest), AllOf(HasSubstr("queue 0: size"), HasSubstr("power of two"))) << size;
  }
  auto config = driver.config();
  config.max_size = 8;
  EXPECT_THAT(refusal(config, guest), HasSubstr("up to 8"));
  config.max_size = 16;
  EXPECT_EQ(refusal(config, guest), "accepted");
}

TEST(QueueCreate, RefusesMisalignedParts) {
  TestGuest guest;
  const Driver driver(guest, 16);
  const auto shifted = [&](GuestAddress QueueConfig::*area, std::uint64_t by) {
    auto config = driver.config();
    (config.*area).value += by;
    return refusal(config, guest);
  };
  EXPECT_THAT(shifted(&QueueConfig::descriptor_area, 8), HasSubstr("descriptor area at 0x1008 is not 16-byte aligned"));
  EXPECT_THAT(shifted(&QueueConfig::driver_area, 1), HasSubstr("is not 2-byte aligned"));
  EXPECT_THAT(shifted(&QueueConfig::device_area, 2), HasSubstr("is not 4-byte aligned"));
}

TEST(QueueCreate, AcceptsTheLeastAlignment) {
  TestGuest guest;
  Driver driver(guest, 4);
  auto config = driver.config();
  config.descriptor_area = {0x10010};
  config.driver_area = {0x10102};
  config.device_area = {0x10204};
  EXPECT_EQ(refusal(config, guest), "accepted");
}

TEST(QueueCreate, RefusesPartsOutsideMemory) {
  TestGuest guest;
  const Driver driver(guest, 16);
  const auto moved = [&](GuestAddress QueueConfig::*area, std::uint64_t to) {
    auto config = driver.config();
    config.*area = {to};
    return refusal(config, guest);
  };
  constexpr std::uint64_t end = TestGuest::default_size;
  EXPECT_THAT(moved(&QueueConfig::descriptor_area, end - 240), HasSubstr("descriptor area, 0x100 bytes at 0x3fff10"));
  EXPECT_EQ(moved(&QueueConfig::descriptor_area, end - 256), "accepted");
  EXPECT_THAT(moved(&QueueConfig::driver_area, end - 36), HasSubstr("driver area"));
  EXPECT_EQ(moved(&QueueConfig::driver_area, end - 38), "accepted");
  EXPECT_THAT(moved(&QueueConfig::device_area, end - 132), HasSubstr("device area"));
  EXPECT_EQ(moved(&QueueConfig::device_area, end - 136), "accepted");
  EXPECT_THAT(moved(&QueueConfig::device_area, ~std::uint64_t{0} - 3), HasSubstr("wraps"));
}

TEST(QueueCreate, RefusesPartsThatOverlap) {
  TestGuest guest;
  const Driver driver(guest, 16);
  auto config = driver.config();
  config.driver_area = {config.descriptor_area.value + 255 / 2 * 2};
  EXPECT_THAT(refusal(config, guest), HasSubstr("descriptor area at 0x1000 overlaps driver area at 0x10fe"));
  config.driver_area = {config.descriptor_area.value + 256};
  EXPECT_EQ(refusal(config, guest), "accepted") << "side by side";
  config = driver.config();
  config.device_area = config.driver_area = {0x8000};
  EXPECT_THAT(refusal(config, guest), HasSubstr("driver area at 0x8000 overlaps device area"));
  config.device_area = {config.descriptor_area.value - 132};
  EXPECT_THAT(refusal(config, guest), HasSubstr("overlaps device area"));
}

TEST(QueueCreate, RefusesAUsedRingInReadOnlyMemory) {
  TestGuest guest;
  const Driver driver(guest, 16);
  constexpr std::uint64_t rom = TestGuest::default_size;
  ASSERT_TRUE(guest.map()->insert(
      *memory::Region::create({rom}, *memory::Mapping::anonymous(4096), {Access::read_only, false})));
  auto config = driver.config();
  config.device_area = {rom};
  EXPECT_THAT(refusal(config, guest), HasSubstr("not in writable memory"));
  config = driver.config();
  config.descriptor_area = {rom};
  EXPECT_EQ(refusal(config, guest), "accepted") << "the device only reads those";
}

TEST(QueueCreate, RefusesIndicesThatCannotBe) {
  TestGuest guest;
  const Driver driver(guest, 16);
  auto config = driver.config();
  config.next_used = 65530;
  config.next_available = 10;
  EXPECT_EQ(refusal(config, guest), "accepted") << "16 in flight, across the wrap";
  config.next_available = 11;
  EXPECT_THAT(refusal(config, guest), HasSubstr("more than 16 apart"));
  config.next_available = 65529;
  EXPECT_THAT(refusal(config, guest), HasSubstr("more than 16 apart"));
}

TEST(QueueCreate, NeedsAMap) {
  TestGuest guest;
  const auto queue = Queue::create(Driver(guest, 4).config(), nullptr);
  ASSERT_FALSE(queue);
  EXPECT_EQ(queue.error().blame(), Blame::caller);
}

class QueueTest : public testing::TestWithParam<test::RingPlace> {
 protected:
  /// A chain: its id with the driver or with the device, and what tells it from others.
  struct One {
    std::uint16_t id = 0xffff;
    std::uint64_t address = 0;
  };

  One pop() {
    const auto chain = queue.pop();
    EXPECT_TRUE(chain) << to_string(chain.error());
    EXPECT_TRUE(*chain);
    if (!chain || !*chain) return {};
    auto walk = **chain;
    return {walk.id(), (*walk.next())->address.value};
  }
  bool empty() {
    const auto chain = queue.pop();
    return chain && !*chain;
  }
  std::string pop_error() {
    const auto chain = queue.pop();
    EXPECT_FALSE(chain);
    if (chain) return "";
    EXPECT_EQ(chain.error().blame(), Blame::guest);
    return to_string(chain.error());
  }
  One add() {
    address_ += 0x1000;
    const auto id = driver.add({{{address_}, 16, true}});
    return {id.value(), address_};
  }
  [[nodiscard]] static bool packed() { return (features() & abi::f_ring_packed) != 0; }
  [[nodiscard]] static bool in_order() { return (features() & abi::f_in_order) != 0; }
  [[nodiscard]] static std::uint64_t features() { return GetParam().ring.features; }

  TestGuest guest{TestGuest::default_size, {0}, true, GetParam().pages};
  Driver driver{guest, 4, features()};
  Queue queue = driver.queue();

 private:
  std::uint64_t address_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Rings, QueueTest,
                         testing::ValuesIn(test::places_of({test::split_ring, test::packed_ring, test::split_in_order,
                                                            test::packed_in_order})),
                         [](const auto& place) { return to_string(place.param); });

TEST_P(QueueTest, GivesWhatIsAvailableInOrder) {
  EXPECT_TRUE(empty());
  const auto first = add();
  const auto second = add();
  EXPECT_EQ(pop().address, first.address);
  const auto third = add();
  EXPECT_EQ(pop().address, second.address);
  EXPECT_EQ(pop().address, third.address) << "also what came after the index was read";
  EXPECT_TRUE(empty());
  EXPECT_EQ(queue.in_flight(), 3);
}

TEST_P(QueueTest, GoesRoundTheRingAndTheIndexMoreThanOnce) {
  TestGuest other_guest(TestGuest::default_size, {0}, false, GetParam().pages);
  Driver other(other_guest, 4, features(), packed() ? std::uint16_t{3} : std::uint16_t{65530});
  Queue other_queue = other.queue();
  const std::uint32_t rounds = GetParam().pages == test::Pages::on_demand ? 500 : 140'000;  // it maps for each access
  for (std::uint32_t i = 0; i < rounds; ++i) {
    const auto head = other.add({{{0x1000}, 16, true}});
    ASSERT_TRUE(head);
    const auto chain = other_queue.pop();
    ASSERT_TRUE(chain && *chain);
    const std::uint32_t written = i + 1;
    ASSERT_TRUE(other_queue.push_used((*chain)->id(), written));
    ASSERT_EQ(other.take_used(), (Used{*head, written}));
  }
}

/// Chains of any length that come back in any order: the driver gets each exactly once, whatever wraps where.
TEST_P(QueueTest, AnyLengthsInAnyOrderComeBackWhole) {
  std::minstd_rand random(7);
  for (const std::uint16_t size : std::initializer_list<std::uint16_t>{1, 2, 3, 5, 8, 13}) {
    if (!packed() && (size & (size - 1)) != 0) continue;
    TestGuest other_guest(TestGuest::default_size, {0}, true, GetParam().pages);
    Driver other(other_guest, size, features());
    Queue other_queue = other.queue();
    std::map<std::uint16_t, std::pair<std::uint64_t, std::uint32_t>>
        sent;                                                   // by the driver's id: its mark, and how long
    std::vector<std::pair<std::uint16_t, std::uint64_t>> held;  // by the device
    std::map<std::uint64_t, std::uint32_t> answers;
    std::uint64_t mark = 0;
    std::size_t returned = 0;
    const std::size_t rounds = GetParam().pages == test::Pages::on_demand ? 300 : 4000;
    for (std::size_t step = 0; step < rounds; ++step) {
      switch (random() % 4) {
        case 0: {
          const auto length = 1 + random() % size;
          std::vector<Driver::Buffer> buffers(length, {{0x1000 + 16 * ++mark}, 1, true});
          const auto id = random() % 4 == 0 ? other.add_indirect(buffers) : other.add(buffers);
          if (id) sent[*id] = {buffers[0].address.value, length};
          break;
        }
        case 1: {
          auto popped = other_queue.pop();
          ASSERT_TRUE(popped) << to_string(popped.error());
          if (!*popped) break;
          auto chain = **popped;
          const auto first = *chain.next();
          std::uint32_t length = 1;
          while (const auto more = *chain.next()) {
            EXPECT_EQ(more->address, first->address);
            ++length;
          }
          if (random() % 8 == 0) {
            ASSERT_TRUE(other_queue.go_back());
            break;
          }
          held.emplace_back(chain.id(), first->address.value);
          answers[first->address.value] = length;
          break;
        }
        case 2: {
          if (held.empty()) break;
          const auto which = random() % held.size();
          ASSERT_TRUE(other_queue.stage_used(held[which].first, answers[held[which].second]));
          held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
          break;
        }
        default:
          if (random() % 2 == 0) other_queue.publish();
          while (const auto used = other.take_used()) {
            ASSERT_EQ(sent.count(static_cast<std::uint16_t>(used->id)), 1U);
            EXPECT_EQ(used->written, sent[static_cast<std::uint16_t>(used->id)].second);
            sent.erase(static_cast<std::uint16_t>(used->id));
            ++returned;
          }
      }
      ASSERT_EQ(other_queue.in_flight(), held.size());
    }
    EXPECT_GT(returned, rounds / 50);
  }
}

TEST_P(QueueTest, UsedChainsMayComeBackInAnyOrder) {
  const auto first = add();
  const auto second = add();
  const auto first_id = pop().id;
  const auto second_id = pop().id;
  ASSERT_TRUE(queue.push_used(second_id, 2));
  EXPECT_EQ(queue.in_flight(), 1);
  const auto early = driver.take_used();
  EXPECT_EQ(early, in_order() ? std::nullopt : std::optional(Used{second.id, 2})) << "the driver sees them in order";
  ASSERT_TRUE(queue.push_used(first_id, 1));
  EXPECT_EQ(driver.take_used(), (Used{first.id, 1}));
  EXPECT_EQ(driver.take_used(), in_order() ? std::optional(Used{second.id, 2}) : std::nullopt);
  EXPECT_EQ(driver.take_used(), std::nullopt);
  EXPECT_EQ(queue.in_flight(), 0);
}

TEST_P(QueueTest, ABatchIsSeenAtOnce) {
  add();
  add();
  const auto before = queue.config().next_used;
  ASSERT_TRUE(queue.stage_used(pop().id, 1));
  ASSERT_TRUE(queue.stage_used(pop().id, 2));
  EXPECT_EQ(driver.used_index(), 0);
  EXPECT_EQ(queue.config().next_used, before) << "what is not published is not saved";
  queue.publish();
  EXPECT_EQ(driver.used_index(), 2);
  queue.publish();
  EXPECT_EQ(driver.used_index(), 2);
}

TEST_P(QueueTest, RefusesToPushWhatItNeverGave) {
  const auto nothing = queue.push_used(0, 0);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code(), Errc::bad_state);
  EXPECT_EQ(nothing.error().blame(), Blame::caller);
  add();
  pop();
  const auto beyond = queue.push_used(4, 0);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code(), Errc::out_of_range);
  EXPECT_EQ(driver.used_index(), 0);
}

TEST_P(QueueTest, RefusesToPushAChainTwiceWhereItCanTell) {
  if (!packed() && !in_order()) GTEST_SKIP() << "a split ring's queue keeps counts only";
  add();
  add();
  const auto first = pop().id;
  const auto second = pop().id;
  ASSERT_TRUE(queue.push_used(second, 0));
  const auto again = queue.push_used(second, 0);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), Errc::bad_state);
  EXPECT_THAT(to_string(again.error()), HasSubstr("which is not in flight"));
  const auto back = queue.go_back();
  ASSERT_FALSE(back) << "the one popped last was pushed";
  EXPECT_EQ(back.error().code(), Errc::bad_state);
  ASSERT_TRUE(queue.push_used(first, 0));
  EXPECT_EQ(driver.used_index(), 2);
}

TEST_P(QueueTest, GoesBackToWhatItPopped) {
  const auto first = add();
  const auto second = add();
  pop();
  pop();
  ASSERT_TRUE(queue.go_back());
  EXPECT_EQ(pop().address, second.address);
  ASSERT_TRUE(queue.go_back(2));
  EXPECT_EQ(pop().address, first.address);
  EXPECT_EQ(pop().address, second.address);
  EXPECT_FALSE(queue.go_back(3));
  EXPECT_EQ(queue.in_flight(), 2);
}

TEST_P(QueueTest, AJumpOfTheAvailableIndexIsAnErrorEachTime) {
  if (packed()) GTEST_SKIP() << "it has none";
  driver.set_available_index(5);
  EXPECT_THAT(pop_error(), AllOf(HasSubstr("queue 0: available index 5"), HasSubstr("2.7.6")));
  EXPECT_THAT(pop_error(), HasSubstr("available index 5"));
  driver.set_available_entry(1, 1);
  driver.set_available_index(4);
  EXPECT_EQ(pop().id, 0) << "a full ring is none";
}

TEST_P(QueueTest, ADecrementOfTheAvailableIndexIsAnError) {
  if (packed()) GTEST_SKIP() << "it has none";
  add();
  add();
  pop();
  pop();
  driver.set_available_index(1);
  EXPECT_THAT(pop_error(), HasSubstr("available index 1"));
}

TEST_P(QueueTest, MoreInFlightThanTheQueueHoldsIsAnError) {
  for (int i = 0; i < 4; ++i) add();
  std::uint16_t first = pop().id;
  for (int i = 0; i < 3; ++i) pop();
  if (packed()) {
    driver.offer({{0x1000, 1, 0, 9}});  // over the first, which the device has
    EXPECT_THAT(pop_error(), AllOf(HasSubstr("descriptor 0 takes more than the 0 of 4"), HasSubstr("2.8.17")));
    EXPECT_THAT(pop_error(), HasSubstr("descriptor 0"));
    return;
  }
  driver.make_available(first);  // a head that is in flight
  EXPECT_THAT(pop_error(), HasSubstr("4 in flight"));
  ASSERT_TRUE(queue.push_used(first, 0));
  EXPECT_EQ(pop().id, first) << "now there is room";
}

TEST_P(QueueTest, AHeadThatIsInFlightIsAnErrorInOrder) {
  if (packed() || !in_order()) GTEST_SKIP() << "there are no heads, or they are not told apart";
  const auto first = add();
  pop();
  driver.make_available(first.id);
  EXPECT_THAT(pop_error(), HasSubstr("names descriptor 0, which is in flight"));
  EXPECT_THAT(pop_error(), HasSubstr("names descriptor 0, which is in flight"));
  ASSERT_TRUE(queue.push_used(first.id, 0));
  EXPECT_EQ(pop().id, first.id);
}

TEST_P(QueueTest, AHeadBeyondTheTableIsAnErrorEachTime) {
  if (packed()) GTEST_SKIP() << "there are no heads";
  driver.make_available(4);
  EXPECT_THAT(pop_error(), HasSubstr("names descriptor 4 of 4"));
  EXPECT_THAT(pop_error(), HasSubstr("names descriptor 4 of 4"));
}

TEST_P(QueueTest, WhatIsWrittenToTheUsedRingIsMarkedDirty) {
  if (GetParam().pages != test::Pages::host) GTEST_SKIP() << "nothing is tracked in another domain's pages";
  memory::DirtyBitmap& dirty = *guest.memory().regions()[0]->dirty();
  const auto page = driver.device_area().value / memory::DirtyBitmap::page_size;
  const auto marked = [&] {
    const bool is = dirty.is_dirty(page);
    dirty.clear();
    return is;
  };
  add();
  const auto id = pop().id;
  dirty.clear();
  ASSERT_TRUE(queue.stage_used(id, 0));
  queue.publish();
  EXPECT_TRUE(marked());
  EXPECT_FALSE(queue.enable_kicks());
  EXPECT_TRUE(marked());
}

TEST(QueueDirty, AUsedRingOverSeveralPagesIsMarkedWhereItWasWritten) {
  constexpr std::uint64_t page = memory::DirtyBitmap::page_size;
  TestGuest guest(TestGuest::default_size, {0}, true);
  constexpr std::uint16_t size = 1024;  // two pages of used elements, and 6 bytes besides
  Driver driver(guest, size);
  auto config = driver.config();
  config.device_area = guest.allocate(3 * page, page);
  Queue queue = *Queue::create(config, guest.map());
  auto& dirty = *guest.memory().regions()[0]->dirty();
  const auto first = config.device_area.value / page;
  const auto marked = [&] {
    std::vector<bool> pages;
    for (unsigned i = 0; i < 3; ++i) pages.push_back(dirty.is_dirty(first + i));
    dirty.clear();
    return pages;
  };
  using Marked = std::vector<bool>;
  const auto serve = [&](std::uint16_t count) {
    for (std::uint16_t i = 0; i < count; ++i) {
      driver.make_available(i);
      ASSERT_TRUE(queue.stage_used((**queue.pop()).id(), 0));
    }
    dirty.clear();
    queue.publish();
  };
  serve(100);
  EXPECT_EQ(marked(), (Marked{true, false, false}));
  serve(511 - 100);  // up to the element that lies in both
  EXPECT_EQ(marked(), (Marked{true, false, false}));
  serve(1);
  EXPECT_EQ(marked(), (Marked{true, true, false})) << "the element, and the index in the first page";
  serve(500);
  EXPECT_EQ(marked(), (Marked{true, true, false}));
  serve(30);  // round the end of the ring
  EXPECT_EQ(marked(), (Marked{true, true, true}));
}

TEST_P(QueueTest, SavesAndRestores) {
  add();
  const auto second = add();
  ASSERT_TRUE(queue.push_used(pop().id, 0));
  const QueueConfig saved = queue.config();
  const std::uint16_t place = packed() ? abi::packed_wrap | 1 : 1;
  EXPECT_EQ(saved.next_available, place);
  EXPECT_EQ(saved.next_used, place);
  auto expected = driver.config();
  expected.next_available = expected.next_used = place;
  EXPECT_EQ(saved, expected);

  queue = *Queue::create(saved, guest.map());
  EXPECT_TRUE(queue.should_notify()) << "whether the driver was told is not known";
  EXPECT_FALSE(queue.should_notify());
  const auto popped = pop();
  EXPECT_EQ(popped.address, second.address);
  ASSERT_TRUE(queue.push_used(popped.id, 9));
  EXPECT_EQ(driver.used_entry(1), (Used{second.id, 9}));
}

TEST_P(QueueTest, MovesWithItsPlace) {
  add();
  const auto second = add();
  pop();
  Queue moved = std::move(queue);
  auto chain = **moved.pop();
  queue = std::move(moved);
  EXPECT_EQ((*chain.next())->address.value, second.address);
  ASSERT_TRUE(queue.push_used(chain.id(), 0));
  EXPECT_TRUE(empty());
}

class QueueMemory : public testing::TestWithParam<test::RingPlace> {
 protected:
  TestGuest guest{TestGuest::default_size, {0}, false, GetParam().pages};
};
INSTANTIATE_TEST_SUITE_P(Rings, QueueMemory,
                         testing::ValuesIn(test::places_of({test::split_ring, test::packed_ring,
                                                            test::packed_in_order})),
                         [](const auto& place) { return to_string(place.param); });

TEST_P(QueueMemory, FollowsTheMapAndKeepsWhatIsInFlight) {
  Driver driver(guest, 4, GetParam().ring.features);
  Queue queue = driver.queue();
  const auto text = guest.place("buffer");
  const auto id = driver.add({{text, 6, false}});
  const Chain chain = **queue.pop();
  const std::weak_ptr<const memory::GuestMemory> old = queue.memory();

  ASSERT_TRUE(guest.map()->insert(*memory::Region::create({1ULL << 32}, *memory::Mapping::anonymous(4096))));
  EXPECT_FALSE(*queue.pop());
  EXPECT_NE(queue.memory(), old.lock());
  std::string out(6, '\0');
  ASSERT_TRUE(chain.memory().read(text, std::as_writable_bytes(std::span(out))));
  EXPECT_EQ(out, "buffer");
  ASSERT_TRUE(queue.push_used(chain.id(), 0));
  EXPECT_EQ(driver.take_used(), (Used{*id, 0}));
  // The guest object still holds the first snapshot; with only that left, the queue has let go.
  EXPECT_EQ(old.use_count(), 1);
}

TEST_P(QueueMemory, ARingWhoseMemoryGoesIsAnErrorAndNoAccess) {
  const GuestRange range{{1ULL << 32}, 65536};
  ASSERT_TRUE(guest.map()->insert(*memory::Region::create(range.start, *memory::Mapping::anonymous(range.size))));
  Driver driver(guest, 4, GetParam().ring.features);
  driver.add({{{0x1000}, 1, true}});
  auto config = driver.config();
  config.device_area = range.start;
  Queue queue = *Queue::create(config, guest.map());
  const Chain chain = **queue.pop();
  ASSERT_TRUE(guest.map()->remove(range));

  const auto popped = queue.pop();
  ASSERT_FALSE(popped);
  EXPECT_EQ(popped.error().code(), Errc::out_of_range);
  EXPECT_EQ(popped.error().blame(), Blame::guest);
  EXPECT_THAT(to_string(popped.error()), HasSubstr("device area"));
  EXPECT_FALSE(queue.push_used(chain.id(), 0));
  EXPECT_TRUE(queue.enable_kicks()) << "so that the device pops, and hears why";
  queue.disable_kicks();
  EXPECT_FALSE(queue.should_notify());
}

}  // namespace
}  // namespace trivet::virtio
