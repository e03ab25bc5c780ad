// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <trivet/core/registers_x86_64.hpp>
#include <trivet/core/result.hpp>

#include "hvm_context_x86_64.hpp"

namespace trivet::xen {

/// The MSRs of vCPU `instance` that a context has, wherever it keeps them: the CPU's record, memory types, the LAPIC's
/// deadline, the TSC's adjustment, and the list of the rest. Not the TSC, EFER and the APIC base, which have their own
/// elements, nor FS and GS base, which are their segments'. Pure.
[[nodiscard]] std::vector<MsrValue> msrs_of(const HvmContext& context, std::uint16_t instance);

/// Puts MSRs back: into `out`, on top of what it or else `whole` has of a record. `unsupported` names an MSR that Xen
/// has no place for, unless its value is 0; nothing of `out` is good then. Pure.
Result<void> put_msrs(HvmContext& out, const HvmContext& whole, std::uint16_t instance,
                      std::span<const MsrValue> values);

}  // namespace trivet::xen
