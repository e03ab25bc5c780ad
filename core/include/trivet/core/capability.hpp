// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace trivet {

/// What a backend may be able to do beyond the contracts that all fulfil (P5).
enum class Cap : std::uint8_t {
  port_io,               ///< the architecture and backend have port I/O
  irqchip_full,          ///< all interrupt controllers in the hypervisor (x86: LAPIC, IOAPIC, PIC)
  irqchip_split,         ///< only the per-vCPU controllers in the hypervisor (x86: LAPIC); the rest is the VMM's
  pit,                   ///< an interval timer in the hypervisor
  lines,                 ///< interrupt lines by global system interrupt (GSI)
  resample,              ///< a level line tells of its end-of-interrupt by an event
  msi,                   ///< message-signalled interrupts
  interrupt_ends,        ///< ends of level messages come to the IoHandler, as an I/O APIC in the VMM needs (split)
  external_interrupts,   ///< a vCPU takes vectors from a controller in the VMM, as a PIC there needs (split)
  doorbells,             ///< guest writes to memory become events without leaving the kernel or hypervisor
  doorbells_pio,         ///< the same for ports
  posted_writes,         ///< writes that need no answer are batched
  read_only_memory,      ///< guest writes to a region trap as MMIO writes
  read_only_code,        ///< the guest can execute from such a region
  host_memory,           ///< regions over memory that the caller mapped
  file_memory,           ///< regions over a descriptor
  hypervisor_memory,     ///< regions that the hypervisor owns and this process maps
  fresh_pages,           ///< a page of the caller's that it drops (madvise) is another one for the guest, too
  dirty_log,             ///< pages written by the guest are known
  dirty_ring,            ///< the same through per-vCPU rings
  vcpu_state,            ///< vCPU state is readable and writable
  cpuid,                 ///< the guest's CPUID is settable
  free_cpuid,            ///< to anything: also the leaves that name the hypervisor, and what the host has not
  single_step,           ///< a vCPU can be run one instruction at a time
  breakpoints,           ///< hardware breakpoints and watchpoints
  software_breakpoints,  ///< the breakpoint instruction exits
  nmi,                   ///< a non-maskable interrupt can be injected
  exceptions,            ///< an exception can be injected
  translate,             ///< guest virtual addresses can be translated
  clock,                 ///< the guest's paravirtual clock is readable and settable
  msr_exits,             ///< chosen MSRs exit to the VMM
  hypercall_exits,       ///< hypercalls exit to the VMM
  halt_exits,            ///< HLT exits to the VMM (no interrupt controller in the hypervisor)
  own_vcpu_threads,      ///< a runner runs a vCPU on the caller's thread; without it the hypervisor schedules vCPUs
  attach,                ///< a VM that someone else made can be attached to
};

/// Whether an ability is there.
enum class Support : std::uint8_t {
  no,
  yes,
  at_creation,  ///< only when asked for in VmConfig
};

/// Numbers that a backend is bounded by.
enum class Limit : std::uint8_t {
  vcpus,                  ///< vCPUs in one VM
  regions,                ///< memory regions in one VM
  physical_address_bits,  ///< width of a guest physical address
  msi_routes,             ///< interrupt routes in one VM
  dirty_ring_entries,     ///< entries of one dirty ring; 0 where there is none
};

[[nodiscard]] std::string_view to_string(Cap cap);
[[nodiscard]] std::string_view to_string(Support support);
[[nodiscard]] std::string_view to_string(Limit limit);

/// Every Cap, in order; for tables.
[[nodiscard]] std::span<const Cap> all_caps();
/// Every Limit, in order; for tables.
[[nodiscard]] std::span<const Limit> all_limits();

}  // namespace trivet
