// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <optional>

#include <trivet/core/registers_x86_64.hpp>

#include "abi.hpp"

namespace trivet::kvm {

// Between the kernel's structs and the neutral ones; pure.

[[nodiscard]] GeneralRegisters from_kernel(const kvm_regs& from);
[[nodiscard]] kvm_regs to_kernel(const GeneralRegisters& from);

[[nodiscard]] SystemRegisters from_kernel(const kvm_sregs& from);
/// The interrupt bitmap stays empty: an interrupt in flight belongs to PendingEvents.
[[nodiscard]] kvm_sregs to_kernel(const SystemRegisters& from);

[[nodiscard]] DebugRegisters from_kernel(const kvm_debugregs& from);
[[nodiscard]] kvm_debugregs to_kernel(const DebugRegisters& from);

/// What of events this VM's kernel was asked to tell.
struct EventFeatures {
  bool payload = false;       ///< KVM_CAP_EXCEPTION_PAYLOAD is on
  bool triple_fault = false;  ///< KVM_CAP_X86_TRIPLE_FAULT_EVENT is on
  bool smm = false;           ///< KVM_CAP_X86_SMM
};
[[nodiscard]] PendingEvents from_kernel(const kvm_vcpu_events& from);
[[nodiscard]] kvm_vcpu_events to_kernel(const PendingEvents& from, const EventFeatures& features);

/// Nothing for a state that x86 does not have.
[[nodiscard]] std::optional<Activity> activity_from_kernel(std::uint32_t mp_state);
[[nodiscard]] std::uint32_t to_kernel(Activity activity);

[[nodiscard]] CpuidEntry from_kernel(const kvm_cpuid_entry2& from);
[[nodiscard]] kvm_cpuid_entry2 to_kernel(const CpuidEntry& from);

}  // namespace trivet::kvm
