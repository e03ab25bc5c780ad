// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "interval_timer.hpp"

#include <chrono>
#include <gtest/gtest.h>

namespace trivet::vmm {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t counter_0 = 0, control = 3;

void out(Pit& pit, std::uint64_t offset, unsigned value) {
  const auto byte = static_cast<std::byte>(value);
  pit.write(offset, {&byte, 1});
}
unsigned in(Pit& pit, std::uint64_t offset) {
  std::byte byte{};
  pit.read(offset, {&byte, 1});
  return std::to_integer<unsigned>(byte);
}
unsigned latched(Pit& pit) {
  out(pit, control, 0x00);
  const unsigned low = in(pit, counter_0);
  return low | in(pit, counter_0) << 8;
}

TEST(IntervalTimerTest, CountsWhereNothingTakesItsTicks) {
  auto loop = *EventLoop::create();
  IntervalTimer timer(*loop, nullptr, nullptr);
  ASSERT_TRUE(loop->start());
  auto& pit = timer.pit();
  out(pit, control, 0x34);  // rate generator, which would tick a thousand times a second
  out(pit, counter_0, 0xa9);
  out(pit, counter_0, 0x04);
  const auto first = latched(pit);
  EXPECT_LE(first, 0x04a9U);
  auto next = first;
  const auto late = std::chrono::steady_clock::now() + 5s;
  while (next == first && std::chrono::steady_clock::now() < late) next = latched(pit);
  EXPECT_NE(next, first);
  loop->stop();
}

}  // namespace
}  // namespace trivet::vmm
