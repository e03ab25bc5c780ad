// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <span>
#include <vector>

#include <trivet/core/irqchip.hpp>
#include <trivet/core/registers_x86_64.hpp>
#include <trivet/core/result.hpp>

#include "device.hpp"

namespace trivet::kvm {

/// KVM_GET_SUPPORTED_CPUID, and what it leaves to user space: that there is a hypervisor, and the timer that the LAPIC
/// in the kernel has.
Result<std::vector<CpuidEntry>> supported_cpuid(const Device& device);

/// `entries` as vCPU `apic_id` of `vcpus` sees them: its own APIC id, every vCPU one core of one package, and no
/// feature that needs a LAPIC where there is none. Pure. Source: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix
/// E.
std::vector<CpuidEntry> cpuid_of_vcpu(std::vector<CpuidEntry> entries, unsigned apic_id, unsigned vcpus,
                                      IrqchipKind irqchip);

/// Width of a guest physical address, from leaf 0x80000008; 36 where the leaf is missing.
unsigned physical_address_bits(std::span<const CpuidEntry> entries);

/// KVM_SET_CPUID2 and KVM_GET_CPUID2.
Result<void> write_cpuid(int vcpu_fd, std::span<const CpuidEntry> entries);
Result<std::vector<CpuidEntry>> read_cpuid(int vcpu_fd);

}  // namespace trivet::kvm
