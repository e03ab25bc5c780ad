// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <span>
#include <vector>

#include <trivet/core/registers_x86_64.hpp>
#include <trivet/core/result.hpp>

#include "abi.hpp"

namespace trivet::xen {

// Between a vCPU's record and the neutral structs; pure. What a struct does not have stays in the record.

[[nodiscard]] GeneralRegisters general_registers(const hvm_hw_cpu& from);
void put(hvm_hw_cpu& to, const GeneralRegisters& from);

/// Without cr8 and apic_base, which the LAPIC's records have.
[[nodiscard]] SystemRegisters system_registers(const hvm_hw_cpu& from);
void put(hvm_hw_cpu& to, const SystemRegisters& from);

[[nodiscard]] DebugRegisters debug_registers(const hvm_hw_cpu& from);
void put(hvm_hw_cpu& to, const DebugRegisters& from);

/// The event that the vCPU's next entry delivers, if any. Xen keeps no more than that: no interrupt shadow, no NMI
/// masking.
[[nodiscard]] PendingEvents pending_events(const hvm_hw_cpu& from);
/// `unsupported` names what Xen has no place for. `nmi_pending` is not for the record: inject it.
Result<void> put(hvm_hw_cpu& to, const PendingEvents& from);

/// The 512 bytes of FXSAVE as an XSAVE area of 576.
[[nodiscard]] Xsave legacy_xsave(const hvm_hw_cpu& from);
void put_legacy(hvm_hw_cpu& to, const Xsave& from);

/// What Xen keeps beside a LAPIC's registers, though they say it: whether it is on, and what its timer divides by.
void put_derived(hvm_hw_lapic& to, const hvm_hw_lapic_regs& page);

/// The processor after reset. Source: Intel SDM volume 3, table 9-1.
[[nodiscard]] hvm_hw_cpu reset_state();

/// Rights of a segment as 12 bits: the descriptor's, without the gap. Source: AMD APM volume 2, 15.5, VMCB segments.
[[nodiscard]] std::uint32_t segment_rights(const Segment& segment);
[[nodiscard]] Segment segment_of(std::uint64_t base, std::uint32_t limit, std::uint32_t selector, std::uint32_t rights);

}  // namespace trivet::xen
