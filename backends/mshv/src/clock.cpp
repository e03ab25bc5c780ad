// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "clock.hpp"

#include <time.h>

#include "hypercall.hpp"

namespace trivet::mshv {
namespace {

constexpr std::uint64_t unit_ns = 100;

std::uint64_t realtime_now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

Result<ClockState> ReferenceClock::save() const {
  TRIVET_ASSIGN(const auto units, read_property(context_.partition, abi::property::reference_time, "read the clock"));
  return ClockState{units * unit_ns, realtime_now()};
}

Result<void> ReferenceClock::restore(const ClockState& state, ClockRestore mode) {
  auto guest_ns = state.guest_ns;
  if (mode == ClockRestore::catch_up) {
    if (state.realtime_ns == 0) {
      return Error(Errc::invalid_argument, "restore the clock",
                   "to catch up, the wall clock of the saving must be known");
    }
    if (const auto now = realtime_now(); now > state.realtime_ns) guest_ns += now - state.realtime_ns;
  }
  const auto& partition = context_.partition;
  // It is set while it stands still.
  TRIVET_TRY(write_property(partition, abi::property::time_freeze, 1, "freeze the clock"));
  auto set = write_property(partition, abi::property::reference_time, guest_ns / unit_ns, "set the clock");
  TRIVET_TRY(write_property(partition, abi::property::time_freeze, 0, "let the clock go"));
  return set;
}

}  // namespace trivet::mshv
