// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "clock.hpp"

#include <time.h>

#include "ioctl.hpp"

namespace trivet::kvm {
namespace {

std::uint64_t realtime_now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

Result<ClockState> KernelClock::save() const {
  kvm_clock_data data{};
  TRIVET_TRY(call(context_.vm(), TRIVET_KVM_REQUEST(KVM_GET_CLOCK, kvm_clock_data), &data));
  // Older kernels give no wall clock with it: then ours, read at once, is the nearest.
  return ClockState{data.clock, (data.flags & KVM_CLOCK_REALTIME) != 0 ? data.realtime : realtime_now()};
}

Result<void> KernelClock::restore(const ClockState& state, ClockRestore mode) {
  kvm_clock_data data{};
  data.clock = state.guest_ns;
  if (mode == ClockRestore::catch_up) {
    if (state.realtime_ns == 0) {
      return Error(Errc::invalid_argument, "restore the clock",
                   "to catch up, the wall clock of the saving must be known");
    }
    if ((context_.device.extension(KVM_CAP_ADJUST_CLOCK) & KVM_CLOCK_REALTIME) != 0) {
      data.flags = KVM_CLOCK_REALTIME;
      data.realtime = state.realtime_ns;
    } else if (const auto now = realtime_now(); now > state.realtime_ns) {
      data.clock += now - state.realtime_ns;
    }
  }
  TRIVET_TRY(call(context_.vm(), TRIVET_KVM_REQUEST(KVM_SET_CLOCK, kvm_clock_data), &data));
  tell_paused_();
  return {};
}

}  // namespace trivet::kvm
