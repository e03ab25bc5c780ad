// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdint>
#include <gtest/gtest.h>
#include <initializer_list>

#include <trivet/test/driver.hpp>
#include <trivet/virtio/queue.hpp>

namespace trivet::virtio {
namespace {

using test::Driver;
using test::TestGuest;

/// What vring_need_event means, step by step: the index passes `event` when one of its steps goes from event to event
/// + 1.
bool passes(std::uint32_t event, std::uint32_t new_index, std::uint32_t old_index, std::uint32_t modulus) {
  for (std::uint32_t i = old_index; i != new_index; i = (i + 1) % modulus) {
    if (i == event) return true;
  }
  return false;
}

TEST(NeedEvent, IsTheModelForEverySmallStepAndEvent) {
  constexpr std::uint32_t modulus = 1U << 16;
  for (const std::uint32_t old_index : {0U, 1U, 32767U, 32768U, 65528U, 65535U}) {
    for (std::uint32_t step = 0; step <= 16; ++step) {
      const std::uint32_t new_index = (old_index + step) % modulus;
      for (std::uint32_t event = 0; event < modulus; ++event) {
        ASSERT_EQ(abi::need_event(static_cast<std::uint16_t>(event), static_cast<std::uint16_t>(new_index),
                                  static_cast<std::uint16_t>(old_index)),
                  passes(event, new_index, old_index, modulus))
            << event << " " << new_index << " " << old_index;
      }
    }
  }
}

TEST(NeedEvent, TheArithmeticIsTheModelForAllTriplesOfAFiveBitIndex) {
  constexpr std::uint32_t modulus = 32;  // the same formula, small enough for every case
  for (std::uint32_t event = 0; event < modulus; ++event) {
    for (std::uint32_t new_index = 0; new_index < modulus; ++new_index) {
      for (std::uint32_t old_index = 0; old_index < modulus; ++old_index) {
        const bool formula = (new_index - event - 1) % modulus < (new_index - old_index) % modulus;
        ASSERT_EQ(formula, passes(event, new_index, old_index, modulus));
        // Scaled to 16 bits by its high bits, the real one agrees.
        constexpr std::uint32_t scale = 2048;
        ASSERT_EQ(abi::need_event(static_cast<std::uint16_t>(event * scale + scale - 1),
                                  static_cast<std::uint16_t>(new_index * scale),
                                  static_cast<std::uint16_t>(old_index * scale)),
                  formula);
      }
    }
  }
}

/// Small queues, every batch, every wish, from starts on both sides of the wrap: the queue's answer is the model's.
TEST(ShouldNotify, WithEventIdxIsTheModelExhaustively) {
  for (const std::uint16_t size : std::initializer_list<std::uint16_t>{1, 2, 4, 8}) {
    for (const std::uint16_t start : std::initializer_list<std::uint16_t>{0, 1, 65529, 65535}) {
      for (std::uint16_t batch = 0; batch <= size; ++batch) {
        for (std::uint32_t offset = 0; offset < 20; ++offset) {
          TestGuest guest(64 << 10);
          Driver driver(guest, size, Driver::all_features, start);
          Queue queue = driver.queue();
          (void)queue.should_notify();  // a queue that was restored says yes once
          const auto event = static_cast<std::uint16_t>(start + offset - 10);
          driver.set_used_event(event);
          for (std::uint16_t i = 0; i < batch; ++i) {
            driver.add({{{0x1000}, 1, true}});
            ASSERT_TRUE(queue.stage_used((*queue.pop())->id(), 0));
          }
          queue.publish();
          const auto end = static_cast<std::uint16_t>(start + batch);
          ASSERT_EQ(queue.should_notify(), passes(event, end, start, 1U << 16)) << size << " " << start << " " << batch;
          ASSERT_FALSE(queue.should_notify()) << "once for each publish";
        }
      }
    }
  }
}

/// The same for what the device asks for: the driver kicks exactly when it passes avail_event.
TEST(EnableKicks, WithEventIdxTheDriverKicksAtTheNextChain) {
  for (const std::uint16_t start : std::initializer_list<std::uint16_t>{0, 65533, 65535}) {
    TestGuest guest;
    Driver driver(guest, 8, Driver::all_features, start);
    Queue queue = driver.queue();
    for (int round = 0; round < 6; ++round) {
      ASSERT_FALSE(queue.enable_kicks());
      ASSERT_EQ(driver.available_event(), static_cast<std::uint16_t>(start + 2 * round));
      driver.add({{{0x1000}, 1, true}});
      ASSERT_TRUE(driver.must_kick());
      queue.disable_kicks();
      driver.add({{{0x1000}, 1, true}});
      ASSERT_FALSE(driver.must_kick()) << "the event is behind";
      for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(queue.push_used((*queue.pop())->id(), 0));
        ASSERT_TRUE(driver.take_used());
      }
    }
  }
}

TEST(EnableKicks, SaysWhatCameMeanwhile) {
  for (const std::uint64_t features :
       {std::uint64_t{0}, Driver::all_features, abi::f_ring_packed, Driver::packed_features, Driver::known_features}) {
    TestGuest guest;
    Driver driver(guest, 8, features);
    Queue queue = driver.queue();
    queue.disable_kicks();
    EXPECT_FALSE(*queue.pop());
    driver.add({{{0x1000}, 1, true}});  // between the last look and the wish
    EXPECT_TRUE(queue.enable_kicks());
    EXPECT_TRUE(*queue.pop());
    EXPECT_FALSE(queue.enable_kicks());
  }
}

TEST(EnableKicks, WithoutEventIdxUsesTheFlag) {
  TestGuest guest;
  Driver driver(guest, 8, 0);
  Queue queue = driver.queue();
  queue.disable_kicks();
  EXPECT_EQ(driver.used_flags(), abi::used_f_no_notify);
  driver.add({{{0x1000}, 1, true}});
  EXPECT_FALSE(driver.must_kick());
  EXPECT_TRUE(queue.enable_kicks());
  EXPECT_EQ(driver.used_flags(), 0);
  driver.add({{{0x1000}, 1, true}});
  EXPECT_TRUE(driver.must_kick());
}

TEST(ShouldNotify, WithoutEventIdxHonoursTheFlag) {
  TestGuest guest;
  Driver driver(guest, 8, 0);
  Queue queue = driver.queue();
  const auto use_one = [&] {
    driver.add({{{0x1000}, 1, true}});
    return queue.push_used((*queue.pop())->id(), 0).has_value();
  };
  EXPECT_FALSE(queue.should_notify()) << "nothing was published";
  ASSERT_TRUE(use_one());
  EXPECT_TRUE(queue.should_notify());
  EXPECT_FALSE(queue.should_notify());
  driver.disable_notifications();
  ASSERT_TRUE(use_one());
  EXPECT_FALSE(queue.should_notify());
  EXPECT_TRUE(driver.enable_notifications()) << "the driver sees what it was not told";
  ASSERT_TRUE(driver.take_used());
  ASSERT_TRUE(driver.take_used());
  EXPECT_FALSE(driver.enable_notifications());
  ASSERT_TRUE(use_one());
  EXPECT_TRUE(queue.should_notify());
}

TEST(ShouldNotify, AWholeTurnOfTheIndexWithoutAskingNotifies) {
  TestGuest guest;
  Driver driver(guest, 8);
  Queue queue = driver.queue();
  driver.set_used_event(40'000);
  for (std::uint32_t i = 0; i < 1U << 16; ++i) {
    driver.add({{{0x1000}, 1, true}});
    ASSERT_TRUE(queue.push_used((*queue.pop())->id(), 0));
    ASSERT_TRUE(driver.take_used());
  }
  EXPECT_TRUE(queue.should_notify()) << "old and new index are equal, yet every event was passed";
}

}  // namespace
}  // namespace trivet::virtio
