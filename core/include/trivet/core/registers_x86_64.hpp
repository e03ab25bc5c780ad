// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include <trivet/core/address.hpp>

namespace trivet {

/// Source: Intel SDM volume 1, 3.4; AMD APM volume 1, 3.1.
struct GeneralRegisters {
  std::uint64_t rax = 0, rbx = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0, rsp = 0, rbp = 0;
  std::uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  std::uint64_t rip = 0;
  std::uint64_t rflags = 0x2;  ///< bit 1 always reads 1

  friend bool operator==(const GeneralRegisters&, const GeneralRegisters&) = default;
};

/// A segment register with its hidden part. Source: Intel SDM volume 3, 3.4.5.
struct Segment {
  std::uint64_t base = 0;
  std::uint32_t limit = 0;  ///< in bytes, after granularity
  std::uint16_t selector = 0;
  std::uint8_t type = 0;       ///< 4 bits
  std::uint8_t privilege = 0;  ///< DPL, 2 bits
  bool present = false;
  bool code_or_data = false;  ///< S: clear for system segments
  bool available = false;     ///< AVL
  bool long_mode = false;     ///< L
  bool default_big = false;   ///< D/B
  bool granularity = false;   ///< G
  bool unusable = false;

  friend bool operator==(const Segment&, const Segment&) = default;
};

/// GDTR or IDTR. Source: Intel SDM volume 3, 2.4.
struct DescriptorTable {
  std::uint64_t base = 0;
  std::uint16_t limit = 0;

  friend bool operator==(const DescriptorTable&, const DescriptorTable&) = default;
};

/// Segments, tables and control registers. Source: Intel SDM volume 3, 2.4-2.5.
struct SystemRegisters {
  Segment cs, ds, es, fs, gs, ss, tr, ldt;
  DescriptorTable gdt, idt;
  std::uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0;
  std::uint64_t efer = 0;
  std::uint64_t apic_base = 0;

  friend bool operator==(const SystemRegisters&, const SystemRegisters&) = default;
};

/// Floating point, SSE and later: the XSAVE area in standard (not compacted) format, at least 576 bytes.
/// Source: Intel SDM volume 1, 13.4.
struct Xsave {
  std::vector<std::uint8_t> area;

  friend bool operator==(const Xsave&, const Xsave&) = default;
};

/// Which parts of the XSAVE state are on. Source: Intel SDM volume 1, 13.3.
struct ExtendedControl {
  std::uint64_t xcr0 = 0;

  friend bool operator==(const ExtendedControl&, const ExtendedControl&) = default;
};

/// One model-specific register and what it holds.
struct MsrValue {
  std::uint32_t index = 0;
  std::uint64_t value = 0;

  friend bool operator==(const MsrValue&, const MsrValue&) = default;
};

/// The local APIC's register page, xAPIC layout: register n at byte n * 16. Source: Intel SDM volume 3, table 11-1.
struct LapicRegisters {
  std::array<std::uint8_t, 1024> page{};

  friend bool operator==(const LapicRegisters&, const LapicRegisters&) = default;
};

/// What the vCPU is doing between instructions.
enum class Activity : std::uint8_t { running, halted, wait_for_sipi, init_received, sipi_received, stopped };

/// Interrupts and exceptions in flight. Source: Intel SDM volume 3, 24.8.3 and 26.2.
struct PendingEvents {
  bool exception_injected = false;  ///< being delivered: lost if not restored
  bool exception_pending = false;   ///< recognised, not yet being delivered
  bool exception_has_error_code = false;
  std::uint8_t exception_vector = 0;
  std::uint32_t exception_error_code = 0;
  bool exception_has_payload = false;
  std::uint64_t exception_payload = 0;

  bool interrupt_injected = false;
  bool interrupt_soft = false;
  std::uint8_t interrupt_vector = 0;
  std::uint8_t interrupt_shadow = 0;  ///< bit 0 MOV SS, bit 1 STI

  bool nmi_injected = false;
  bool nmi_pending = false;
  bool nmi_masked = false;

  bool triple_fault_pending = false;
  bool in_smm = false;
  bool smi_pending = false;
  std::uint32_t sipi_vector = 0;

  friend bool operator==(const PendingEvents&, const PendingEvents&) = default;
};

/// The guest's own breakpoints. Source: Intel SDM volume 3, 17.2.
struct DebugRegisters {
  std::array<std::uint64_t, 4> address{};  ///< DR0-DR3
  std::uint64_t dr6 = 0xffff0ff0;
  std::uint64_t dr7 = 0x400;

  friend bool operator==(const DebugRegisters&, const DebugRegisters&) = default;
};

/// The time-stamp counter at the moment of saving.
struct Tsc {
  std::uint64_t value = 0;
  std::uint32_t frequency_khz = 0;  ///< 0: not known

  friend bool operator==(const Tsc&, const Tsc&) = default;
};

/// One leaf of CPUID.
struct CpuidEntry {
  std::uint32_t leaf = 0;
  std::uint32_t subleaf = 0;
  bool subleaf_matters = false;
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;

  friend bool operator==(const CpuidEntry&, const CpuidEntry&) = default;
};

/// What `Vcpu::translate` found.
struct Translation {
  GuestAddress address;
  bool writable = false;
  bool user = false;
};

/// An event for `Vcpu::inject`.
struct Exception {
  std::uint8_t vector = 0;  ///< 0-31
  bool has_error_code = false;
  std::uint32_t error_code = 0;
};

/// What `Vcpu::set_debug` watches. All clear: debugging off.
struct DebugControl {
  bool single_step = false;
  bool software_breakpoints = false;       ///< INT3 exits instead of reaching the guest
  bool hardware_breakpoints = false;       ///< use `registers` instead of the guest's own
  std::array<std::uint64_t, 4> address{};  ///< DR0-DR3
  std::uint64_t dr7 = 0;
};

}  // namespace trivet
