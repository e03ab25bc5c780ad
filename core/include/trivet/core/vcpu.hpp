// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <optional>
#include <span>

#include <trivet/core/address.hpp>
#include <trivet/core/arch.hpp>
#include <trivet/core/result.hpp>

namespace trivet {

/// A virtual processor: its state and what is injected into it. Running it is its Runner's business.
///
/// Owned by its Vm. Thread rule: any thread, but only while it is stopped: during `Runner::run` every call here gives
/// `bad_state` (P11), except where a call says otherwise. Errors that are not the caller's are the host's.
class Vcpu {
 public:
  [[nodiscard]] virtual unsigned index() const noexcept = 0;

  virtual Result<GeneralRegisters> registers() const = 0;
  virtual Result<void> set_registers(const GeneralRegisters& registers) = 0;
  virtual Result<SystemRegisters> system_registers() const = 0;
  virtual Result<void> set_system_registers(const SystemRegisters& registers) = 0;

  /// What the guest's CPUID answers. Before the first run. `invalid_argument` if the hypervisor refuses the set.
  virtual Result<void> set_cpuid(std::span<const CpuidEntry> entries) = 0;

  /// Reads the asked elements, those that are `present`, in the order the hypervisor wants. Drain the runner first:
  /// with an access half done this is `bad_state`.
  virtual Result<VcpuState> save(StateElements elements) const = 0;

  /// Writes every element that `state` holds, in the order the hypervisor wants. `unsupported` names an element that is
  /// not present here; nothing was written then. `malformed`: a value no processor can hold.
  virtual Result<void> restore(const VcpuState& state) = 0;

  /// Walks the guest's page tables. Nothing where the address is not mapped.
  virtual Result<std::optional<Translation>> translate(GuestVirtualAddress at) const = 0;

  /// Makes the next entry deliver an exception.
  virtual Result<void> inject(const Exception& exception) = 0;

  /// Queues a non-maskable interrupt. Also while running.
  virtual Result<void> inject_nmi() = 0;

  /// x86 with IrqchipKind::split: the level of the pin by which an interrupt controller in the VMM asks for attention
  /// (INTR; LINT0 of the local APIC). While it is asserted, the runner calls `IoHandler::acknowledge_interrupt` as soon
  /// as the vCPU can take an external interrupt and its local APIC passes them on (LINT0 in ExtINT mode, or the APIC
  /// off), and delivers the vector. No part of the vCPU's state: who drives it asserts it again after a restore. Also
  /// while running, and from the IoHandler. `unsupported` names Cap::external_interrupts.
  /// Source: Intel SDM volume 3, 11.5.1 (ExtINT).
  virtual Result<void> set_interrupt_pin(bool asserted) noexcept {
    (void)asserted;
    return Error::unsupported("drive an interrupt pin", "external_interrupts");
  }

  /// What stops the guest with `exits::Debug`. `unsupported` names the Cap.
  virtual Result<void> set_debug(const DebugControl& control) = 0;

  /// Answers `exits::Msr`: the value for a read (ignored for a write), or nothing to make the access fault (general
  /// protection).
  virtual Result<void> answer_msr(std::optional<std::uint64_t> value) = 0;

  /// Answers `exits::Hypercall` with the value the guest sees in its return register.
  virtual Result<void> answer_hypercall(std::uint64_t value) = 0;

 protected:
  ~Vcpu() = default;
};

}  // namespace trivet
