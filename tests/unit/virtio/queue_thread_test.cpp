// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <atomic>
#include <cstdint>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

#include <trivet/core/unique_fd.hpp>
#include <trivet/test/driver.hpp>
#include <trivet/virtio/reader.hpp>
#include <trivet/virtio/writer.hpp>

namespace trivet::virtio {
namespace {

using test::Driver;
using test::TestGuest;

/// A kick or an interrupt: a wait that never ends by itself, so that one that is lost shows.
class Signal {
 public:
  void raise() const {
    const std::uint64_t one = 1;
    EXPECT_EQ(::write(fd_.value(), &one, sizeof one), 8);
  }
  [[nodiscard]] bool wait() const {
    pollfd poll{fd_.value(), POLLIN, 0};
    if (::poll(&poll, 1, 10'000) != 1) return false;
    std::uint64_t count = 0;
    return ::read(fd_.value(), &count, sizeof count) == 8;
  }

 private:
  UniqueFd fd_{::eventfd(0, EFD_CLOEXEC)};
};

constexpr std::uint32_t requests = 20'000;

/// The device: takes a number, writes its complement; sleeps when there is nothing to do.
void serve(Queue queue, const Signal& kick, const Signal& interrupt, std::uint64_t& interrupts) {
  std::uint32_t done = 0;
  while (done < requests) {
    queue.disable_kicks();
    for (;;) {
      const auto chain = queue.pop();
      ASSERT_TRUE(chain) << to_string(chain.error());
      if (!*chain) break;
      Reader reader = *Reader::create(**chain);
      Writer writer = *Writer::create(**chain);
      const auto number = reader.read_object<std::uint32_t>();
      ASSERT_TRUE(number);
      ASSERT_TRUE(writer.write_object<std::uint32_t>(~*number));
      ASSERT_TRUE(queue.push_used((*chain)->id(), writer.written()));
      ++done;
    }
    if (queue.should_notify()) {
      ++interrupts;
      interrupt.raise();
    }
    if (queue.enable_kicks() || done == requests) continue;
    ASSERT_TRUE(kick.wait()) << "a kick was lost after " << done;
  }
}

class TwoThreads : public testing::TestWithParam<std::uint64_t> {};

TEST_P(TwoThreads, DriverAndDeviceLoseNoChainNoKickAndNoInterrupt) {
  TestGuest guest;
  constexpr std::uint16_t size = 16;
  const bool packed = (GetParam() & abi::f_ring_packed) != 0;
  Driver driver(guest, size, GetParam(), packed ? std::uint16_t{9} : std::uint16_t{65'000});
  const Signal kick;
  const Signal interrupt;
  std::uint64_t interrupts = 0;
  std::thread device([&, queue = driver.queue()]() mutable { serve(std::move(queue), kick, interrupt, interrupts); });

  const bool indirect = (GetParam() & abi::f_indirect_desc) != 0;
  struct Slot {
    GuestAddress in, out;
    std::uint32_t number = 0;
  };
  std::vector<Slot> slots(size);
  for (auto& slot : slots) slot = {guest.allocate(4), guest.allocate(4)};
  std::vector<Slot*> by_head(size);
  std::vector<Slot*> idle;
  for (auto& slot : slots) idle.push_back(&slot);

  std::uint32_t sent = 0;
  std::uint32_t received = 0;
  std::uint64_t kicks = 0;
  const auto fill = [&] {
    while (sent < requests && !idle.empty() && driver.free() >= 2) {
      Slot& slot = *idle.back();
      idle.pop_back();
      slot.number = sent++;
      ASSERT_TRUE(guest.memory().store(slot.in, slot.number));
      const std::array<Driver::Buffer, 2> buffers{{{slot.in, 4, false}, {slot.out, 4, true}}};
      const auto head = indirect && sent % 3 == 0 ? driver.add_indirect(buffers) : driver.add(buffers);
      by_head[head.value()] = &slot;
    }
    if (driver.must_kick()) {
      ++kicks;
      kick.raise();
    }
  };
  while (received < requests && !HasFatalFailure()) {
    driver.disable_notifications();
    fill();
    while (const auto used = driver.take_used()) {
      Slot& slot = *by_head[used->id];
      ASSERT_EQ(used->written, 4U);
      ASSERT_EQ(*guest.memory().load<std::uint32_t>(slot.out), ~slot.number);
      idle.push_back(&slot);
      ++received;
    }
    if (received == requests) break;
    fill();
    if (driver.enable_notifications()) continue;
    ASSERT_TRUE(interrupt.wait()) << "an interrupt was lost after " << received;
  }
  device.join();
  RecordProperty("kicks", std::to_string(kicks));
  RecordProperty("interrupts", std::to_string(interrupts));
  EXPECT_LE(kicks, requests);
  EXPECT_LE(interrupts, requests);
}

INSTANTIATE_TEST_SUITE_P(Features, TwoThreads,
                         testing::Values(0, abi::f_event_idx, abi::f_indirect_desc, Driver::all_features,
                                         Driver::all_features | abi::f_in_order, abi::f_ring_packed,
                                         abi::f_ring_packed | abi::f_event_idx, Driver::packed_features,
                                         Driver::known_features));

}  // namespace
}  // namespace trivet::virtio
