// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <atomic>
#include <cstdint>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

#include <trivet/test/driver.hpp>
#include <trivet/virtio/reader.hpp>
#include <trivet/virtio/shared_queue.hpp>
#include <trivet/virtio/writer.hpp>

namespace trivet::virtio {
namespace {

using test::Driver;
using test::TestGuest;

/// Takes numbers and gives back their complements, until `stop`.
void serve(SharedQueue& queue, const std::atomic<bool>& stop, std::atomic<std::uint32_t>& notifications) {
  while (!stop) {
    const auto chain = queue.pop();
    ASSERT_TRUE(chain) << to_string(chain.error());
    if (!*chain) {
      std::this_thread::yield();
      continue;
    }
    Reader reader = *Reader::create(**chain);
    Writer writer = *Writer::create(**chain);
    const auto number = reader.read_object<std::uint32_t>();
    ASSERT_TRUE(number);
    ASSERT_TRUE(writer.write_object<std::uint32_t>(~*number));
    const auto notify = queue.push_used((*chain)->id(), writer.written());
    ASSERT_TRUE(notify) << to_string(notify.error());
    if (*notify) ++notifications;
  }
}

class SharedQueueTest : public testing::TestWithParam<std::uint64_t> {};

TEST_P(SharedQueueTest, SeveralThreadsServeEveryChainOnce) {
  constexpr std::uint32_t requests = 2'000;
  constexpr std::uint16_t size = 16;
  TestGuest guest;
  Driver driver(guest, size, GetParam(), 65'000);
  SharedQueue queue(driver.queue());
  std::atomic<bool> stop = false;
  std::atomic<std::uint32_t> notifications = 0;
  std::vector<std::thread> servers;
  for (int i = 0; i < 3; ++i) servers.emplace_back([&] { serve(queue, stop, notifications); });

  struct Slot {
    GuestAddress in, out;
    std::uint32_t number = 0;
  };
  std::vector<Slot> slots(size / 2);
  for (auto& slot : slots) slot = {guest.allocate(4), guest.allocate(4)};
  std::vector<Slot*> idle;
  for (auto& slot : slots) idle.push_back(&slot);
  std::vector<Slot*> by_head(size);
  std::uint32_t sent = 0;
  std::uint32_t received = 0;
  while (received < requests && !HasFailure()) {
    while (sent < requests && !idle.empty() && driver.free() >= 2) {
      Slot& slot = *idle.back();
      idle.pop_back();
      slot.number = sent++;
      EXPECT_TRUE(guest.memory().store(slot.in, slot.number));
      const auto head = driver.add(std::array<Driver::Buffer, 2>{{{slot.in, 4, false}, {slot.out, 4, true}}});
      by_head[head.value()] = &slot;
    }
    while (const auto used = driver.take_used()) {
      Slot& slot = *by_head[used->id];
      EXPECT_EQ(*guest.memory().load<std::uint32_t>(slot.out), ~slot.number);
      idle.push_back(&slot);
      ++received;
    }
  }
  stop = true;
  for (auto& server : servers) server.join();
  EXPECT_EQ(received, requests);
  EXPECT_EQ(queue.in_flight(), 0);
  EXPECT_GT(notifications, 0U);
  EXPECT_LE(notifications, requests);
  EXPECT_EQ(std::move(queue).take().config().next_used, static_cast<std::uint16_t>(65'000 + requests));
}

INSTANTIATE_TEST_SUITE_P(Features, SharedQueueTest, testing::Values(0, abi::f_event_idx));

TEST(SharedQueue, ABatchIsOneStep) {
  TestGuest guest;
  Driver driver(guest, 8);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(driver.add(std::array<Driver::Buffer, 1>{{{guest.allocate(16), 16, true}}}));
  }
  SharedQueue queue(driver.queue());
  const auto notify = queue.locked([](Queue& inner) {
    for (auto chain = inner.pop(); chain && *chain; chain = inner.pop()) {
      EXPECT_TRUE(inner.stage_used((*chain)->id(), 0));
    }
    inner.publish();
    return inner.should_notify();
  });
  EXPECT_TRUE(notify) << "of a driver that asks for one";
  EXPECT_EQ(queue.in_flight(), 0);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(driver.take_used());
  const auto nothing = queue.push_used(0, 0);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code(), Errc::bad_state);
}

}  // namespace
}  // namespace trivet::virtio
