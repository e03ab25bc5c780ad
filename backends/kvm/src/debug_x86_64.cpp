// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>

#include <trivet/core/capability.hpp>

#include "ioctl.hpp"
#include "vcpu.hpp"

namespace trivet::kvm {

Result<void> KvmVcpu::set_debug(const DebugControl& control) {
  constexpr auto operation = "set debugging";
  const StateCall state(*this);
  if (!state.ok()) return running(operation);
  if (context_.device.extension(KVM_CAP_SET_GUEST_DEBUG) == 0) {
    return Error::unsupported(operation, to_string(Cap::single_step));
  }
  const auto& quirks = context_.device.quirks();
  if (control.software_breakpoints && !quirks.software_breakpoints) {
    return Error::unsupported(operation, to_string(Cap::software_breakpoints));
  }
  if (control.hardware_breakpoints && !quirks.watchpoints) {
    return Error::unsupported(operation, to_string(Cap::breakpoints));
  }
  kvm_guest_debug debug{};
  if (control.single_step) debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
  if (control.software_breakpoints) debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
  if (control.hardware_breakpoints) {
    debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    std::copy(control.address.begin(), control.address.end(), std::begin(debug.arch.debugreg));
    debug.arch.debugreg[7] = control.dr7;
  }
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_SET_GUEST_DEBUG, kvm_guest_debug), &debug));
  progress_.software_breakpoints = control.software_breakpoints;
  return {};
}

}  // namespace trivet::kvm
