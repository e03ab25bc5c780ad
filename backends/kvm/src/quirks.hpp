// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>

namespace trivet::kvm {

/// What this KVM answers to and yet does not do. Its capabilities do not tell: a nested or emulated processor may take
/// KVM_SET_GUEST_DEBUG and never stop, or report an MSR as written and keep the old value. So it is tried.
struct Quirks {
  bool watchpoints = false;           ///< KVM_GUESTDBG_USE_HW_BP stops the guest at a write
  bool software_breakpoints = false;  ///< KVM_GUESTDBG_USE_SW_BP stops it at INT3
  bool settable_tsc = false;          ///< writing MSR 0x10 moves the counter
};

/// Tries them in a throwaway VM of one vCPU and two pages, in real mode; a few milliseconds. What cannot be tried is
/// not there. `run_size`: Device::run_size.
[[nodiscard]] Quirks probe_quirks(int kvm_fd, std::size_t run_size) noexcept;

}  // namespace trivet::kvm
