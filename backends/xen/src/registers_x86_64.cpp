// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "registers_x86_64.hpp"

#include <algorithm>
#include <cstring>

namespace trivet::xen {
namespace {

constexpr auto restore_operation = "restore vCPU state";

// xen/hvm/dm_op.h, XEN_DMOP_EVENT_*; the same numbers as in a VMCB.
constexpr unsigned external_interrupt = XEN_DMOP_EVENT_ext_int;
constexpr unsigned nmi = XEN_DMOP_EVENT_nmi;
constexpr unsigned exception = XEN_DMOP_EVENT_hw_exc;
constexpr unsigned software_interrupt = XEN_DMOP_EVENT_sw_int;
constexpr unsigned software_exception = XEN_DMOP_EVENT_sw_exc;
constexpr std::uint8_t nmi_vector = 2;

constexpr std::size_t legacy_size = 512;
constexpr std::size_t least_xsave = 576;
constexpr std::uint64_t legacy_features = 3;  // x87, SSE

bool bit(std::uint32_t value, unsigned number) {
  return (value >> number & 1) != 0;
}

}  // namespace

std::uint32_t segment_rights(const Segment& segment) {
  const auto flag = [](bool on, unsigned number) { return std::uint32_t{on} << number; };
  return (segment.type & 0xfU) | flag(segment.code_or_data, 4) | (segment.privilege & 3U) << 5 |
         flag(segment.present && !segment.unusable, 7) | flag(segment.available, 8) | flag(segment.long_mode, 9) |
         flag(segment.default_big, 10) | flag(segment.granularity, 11);
}

Segment segment_of(std::uint64_t base, std::uint32_t limit, std::uint32_t selector, std::uint32_t rights) {
  Segment segment;
  segment.base = base;
  segment.limit = limit;
  segment.selector = static_cast<std::uint16_t>(selector);
  segment.type = rights & 0xf;
  segment.code_or_data = bit(rights, 4);
  segment.privilege = rights >> 5 & 3;
  segment.present = bit(rights, 7);
  segment.available = bit(rights, 8);
  segment.long_mode = bit(rights, 9);
  segment.default_big = bit(rights, 10);
  segment.granularity = bit(rights, 11);
  segment.unusable = !segment.present;
  return segment;
}

GeneralRegisters general_registers(const hvm_hw_cpu& from) {
  GeneralRegisters to;
  to.rax = from.rax, to.rbx = from.rbx, to.rcx = from.rcx, to.rdx = from.rdx;
  to.rsi = from.rsi, to.rdi = from.rdi, to.rsp = from.rsp, to.rbp = from.rbp;
  to.r8 = from.r8, to.r9 = from.r9, to.r10 = from.r10, to.r11 = from.r11;
  to.r12 = from.r12, to.r13 = from.r13, to.r14 = from.r14, to.r15 = from.r15;
  to.rip = from.rip, to.rflags = from.rflags;
  return to;
}

void put(hvm_hw_cpu& to, const GeneralRegisters& from) {
  to.rax = from.rax, to.rbx = from.rbx, to.rcx = from.rcx, to.rdx = from.rdx;
  to.rsi = from.rsi, to.rdi = from.rdi, to.rsp = from.rsp, to.rbp = from.rbp;
  to.r8 = from.r8, to.r9 = from.r9, to.r10 = from.r10, to.r11 = from.r11;
  to.r12 = from.r12, to.r13 = from.r13, to.r14 = from.r14, to.r15 = from.r15;
  to.rip = from.rip, to.rflags = from.rflags;
}

SystemRegisters system_registers(const hvm_hw_cpu& from) {
  SystemRegisters to;
  to.cs = segment_of(from.cs_base, from.cs_limit, from.cs_sel, from.cs_arbytes);
  to.ds = segment_of(from.ds_base, from.ds_limit, from.ds_sel, from.ds_arbytes);
  to.es = segment_of(from.es_base, from.es_limit, from.es_sel, from.es_arbytes);
  to.fs = segment_of(from.fs_base, from.fs_limit, from.fs_sel, from.fs_arbytes);
  to.gs = segment_of(from.gs_base, from.gs_limit, from.gs_sel, from.gs_arbytes);
  to.ss = segment_of(from.ss_base, from.ss_limit, from.ss_sel, from.ss_arbytes);
  to.tr = segment_of(from.tr_base, from.tr_limit, from.tr_sel, from.tr_arbytes);
  to.ldt = segment_of(from.ldtr_base, from.ldtr_limit, from.ldtr_sel, from.ldtr_arbytes);
  to.gdt = {from.gdtr_base, static_cast<std::uint16_t>(from.gdtr_limit)};
  to.idt = {from.idtr_base, static_cast<std::uint16_t>(from.idtr_limit)};
  to.cr0 = from.cr0, to.cr2 = from.cr2, to.cr3 = from.cr3, to.cr4 = from.cr4;
  to.efer = from.msr_efer;
  return to;
}

#define TRIVET_PUT_SEGMENT(name, segment) \
  to.name##_base = (segment).base;        \
  to.name##_limit = (segment).limit;      \
  to.name##_sel = (segment).selector;     \
  to.name##_arbytes = segment_rights(segment)

void put(hvm_hw_cpu& to, const SystemRegisters& from) {
  TRIVET_PUT_SEGMENT(cs, from.cs);
  TRIVET_PUT_SEGMENT(ds, from.ds);
  TRIVET_PUT_SEGMENT(es, from.es);
  TRIVET_PUT_SEGMENT(fs, from.fs);
  TRIVET_PUT_SEGMENT(gs, from.gs);
  TRIVET_PUT_SEGMENT(ss, from.ss);
  TRIVET_PUT_SEGMENT(tr, from.tr);
  TRIVET_PUT_SEGMENT(ldtr, from.ldt);
  to.gdtr_base = from.gdt.base, to.gdtr_limit = from.gdt.limit;
  to.idtr_base = from.idt.base, to.idtr_limit = from.idt.limit;
  to.cr0 = from.cr0, to.cr2 = from.cr2, to.cr3 = from.cr3, to.cr4 = from.cr4;
  to.msr_efer = from.efer;
}

#undef TRIVET_PUT_SEGMENT

DebugRegisters debug_registers(const hvm_hw_cpu& from) {
  return {{from.dr0, from.dr1, from.dr2, from.dr3}, from.dr6, from.dr7};
}

void put(hvm_hw_cpu& to, const DebugRegisters& from) {
  to.dr0 = from.address[0], to.dr1 = from.address[1], to.dr2 = from.address[2], to.dr3 = from.address[3];
  to.dr6 = from.dr6, to.dr7 = from.dr7;
}

PendingEvents pending_events(const hvm_hw_cpu& from) {
  PendingEvents to;
  if (!from.pending_valid) return to;
  const std::uint8_t vector = from.pending_vector;
  switch (from.pending_type) {
    case external_interrupt:
    case software_interrupt:
      to.interrupt_injected = true;
      to.interrupt_soft = from.pending_type == software_interrupt;
      to.interrupt_vector = vector;
      break;
    case nmi:
      to.nmi_injected = true;
      break;
    default:
      to.exception_injected = true;
      to.exception_vector = vector;
      to.exception_has_error_code = from.pending_error_valid;
      to.exception_error_code = from.pending_error_valid ? from.error_code : 0;
      break;
  }
  return to;
}

Result<void> put(hvm_hw_cpu& to, const PendingEvents& from) {
  const auto missing = [](const char* what) { return Error::unsupported(restore_operation, what); };
  if (from.interrupt_shadow != 0) return missing("events: an interrupt shadow");
  if (from.nmi_masked) return missing("events: masked NMIs");
  if (from.in_smm || from.smi_pending) return missing("events: SMM");
  if (from.triple_fault_pending) return missing("events: a pending triple fault");
  if (from.exception_has_payload) return missing("events: an exception with a payload");
  const bool has_exception = from.exception_injected || from.exception_pending;
  if (has_exception + from.interrupt_injected + from.nmi_injected > 1) return missing("events: two at once");
  to.pending_event = 0;
  to.error_code = 0;
  if (!has_exception && !from.interrupt_injected && !from.nmi_injected) return {};
  to.pending_valid = true;
  if (from.nmi_injected) {
    to.pending_type = nmi;
    to.pending_vector = nmi_vector;
  } else if (from.interrupt_injected) {
    to.pending_type = from.interrupt_soft ? software_interrupt : external_interrupt;
    to.pending_vector = from.interrupt_vector;
  } else {
    // INT3 and INTO are the two that come from an instruction.
    const bool soft = from.exception_vector == 3 || from.exception_vector == 4;
    to.pending_type = soft ? software_exception : exception;
    to.pending_vector = from.exception_vector;
    to.pending_error_valid = from.exception_has_error_code;
    to.error_code = from.exception_has_error_code ? from.exception_error_code : 0;
  }
  return {};
}

Xsave legacy_xsave(const hvm_hw_cpu& from) {
  Xsave xsave;
  xsave.area.resize(least_xsave);
  hvm_hw_cpu fpu = from;
  if ((from.flags & XEN_X86_FPU_INITIALISED) == 0) {
    // The FPU was never used: what FNINIT and reset give.
    std::memset(fpu.fpu_regs, 0, legacy_size);
    const std::uint16_t control = 0x37f;
    const std::uint32_t mxcsr = 0x1f80;
    std::memcpy(fpu.fpu_regs, &control, sizeof control);
    std::memcpy(fpu.fpu_regs + 24, &mxcsr, sizeof mxcsr);
  }
  std::memcpy(xsave.area.data(), fpu.fpu_regs, legacy_size);
  std::memcpy(xsave.area.data() + legacy_size, &legacy_features, sizeof legacy_features);
  return xsave;
}

void put_legacy(hvm_hw_cpu& to, const Xsave& from) {
  std::memcpy(to.fpu_regs, from.area.data(), legacy_size);
  to.flags |= XEN_X86_FPU_INITIALISED;
}

void put_derived(hvm_hw_lapic& to, const hvm_hw_lapic_regs& page) {
  constexpr std::uint64_t hardware_enable = 1U << 11;  // of the APIC base
  constexpr std::size_t spurious_vector = 0xf0;
  constexpr std::uint8_t software_enable = 1;  // bit 8 of that register
  constexpr std::size_t divide_configuration = 0x3e0;
  constexpr std::uint32_t hardware_disabled = 1;
  constexpr std::uint32_t software_disabled = 2;
  to.disabled = ((to.apic_base_msr & hardware_enable) != 0 ? 0 : hardware_disabled) |
                ((page.data[spurious_vector + 1] & software_enable) != 0 ? 0 : software_disabled);
  const unsigned divide = page.data[divide_configuration];  // SDM volume 3, figure 11-10: bits 0, 1 and 3; 7 is by one
  to.timer_divisor = 1U << ((((divide & 3) | ((divide & 8) >> 1)) + 1) & 7);
}

hvm_hw_cpu reset_state() {
  hvm_hw_cpu cpu{};
  SystemRegisters system;
  const auto data = segment_of(0, 0xffff, 0, 0x93);
  system.ds = system.es = system.fs = system.gs = system.ss = data;
  system.cs = segment_of(0xffff0000, 0xffff, 0xf000, 0x9b);
  system.tr = segment_of(0, 0xffff, 0, 0x8b);
  system.ldt = segment_of(0, 0xffff, 0, 0x82);
  system.gdt.limit = system.idt.limit = 0xffff;
  system.cr0 = 0x60000010;
  put(cpu, system);
  put(cpu, DebugRegisters{});
  cpu.rip = 0xfff0;
  cpu.rflags = 2;
  return cpu;
}

}  // namespace trivet::xen
