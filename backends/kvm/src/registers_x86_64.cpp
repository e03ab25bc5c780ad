// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "registers_x86_64.hpp"

#include <algorithm>
#include <iterator>

namespace trivet::kvm {
namespace {

Segment from_kernel(const kvm_segment& from) {
  Segment to;
  to.base = from.base;
  to.limit = from.limit;
  to.selector = from.selector;
  to.type = from.type;
  to.privilege = from.dpl;
  to.present = from.present != 0;
  to.code_or_data = from.s != 0;
  to.available = from.avl != 0;
  to.long_mode = from.l != 0;
  to.default_big = from.db != 0;
  to.granularity = from.g != 0;
  to.unusable = from.unusable != 0;
  return to;
}

kvm_segment to_kernel(const Segment& from) {
  kvm_segment to{};
  to.base = from.base;
  to.limit = from.limit;
  to.selector = from.selector;
  to.type = from.type;
  to.dpl = from.privilege;
  to.present = from.present;
  to.s = from.code_or_data;
  to.avl = from.available;
  to.l = from.long_mode;
  to.db = from.default_big;
  to.g = from.granularity;
  to.unusable = from.unusable;
  return to;
}

DescriptorTable from_kernel(const kvm_dtable& from) {
  return {from.base, from.limit};
}

kvm_dtable to_kernel(const DescriptorTable& from) {
  kvm_dtable to{};
  to.base = from.base;
  to.limit = from.limit;
  return to;
}

}  // namespace

GeneralRegisters from_kernel(const kvm_regs& from) {
  GeneralRegisters to;
  to.rax = from.rax, to.rbx = from.rbx, to.rcx = from.rcx, to.rdx = from.rdx;
  to.rsi = from.rsi, to.rdi = from.rdi, to.rsp = from.rsp, to.rbp = from.rbp;
  to.r8 = from.r8, to.r9 = from.r9, to.r10 = from.r10, to.r11 = from.r11;
  to.r12 = from.r12, to.r13 = from.r13, to.r14 = from.r14, to.r15 = from.r15;
  to.rip = from.rip, to.rflags = from.rflags;
  return to;
}

kvm_regs to_kernel(const GeneralRegisters& from) {
  kvm_regs to{};
  to.rax = from.rax, to.rbx = from.rbx, to.rcx = from.rcx, to.rdx = from.rdx;
  to.rsi = from.rsi, to.rdi = from.rdi, to.rsp = from.rsp, to.rbp = from.rbp;
  to.r8 = from.r8, to.r9 = from.r9, to.r10 = from.r10, to.r11 = from.r11;
  to.r12 = from.r12, to.r13 = from.r13, to.r14 = from.r14, to.r15 = from.r15;
  to.rip = from.rip, to.rflags = from.rflags;
  return to;
}

SystemRegisters from_kernel(const kvm_sregs& from) {
  SystemRegisters to;
  to.cs = from_kernel(from.cs), to.ds = from_kernel(from.ds), to.es = from_kernel(from.es);
  to.fs = from_kernel(from.fs), to.gs = from_kernel(from.gs), to.ss = from_kernel(from.ss);
  to.tr = from_kernel(from.tr), to.ldt = from_kernel(from.ldt);
  to.gdt = from_kernel(from.gdt), to.idt = from_kernel(from.idt);
  to.cr0 = from.cr0, to.cr2 = from.cr2, to.cr3 = from.cr3, to.cr4 = from.cr4, to.cr8 = from.cr8;
  to.efer = from.efer, to.apic_base = from.apic_base;
  return to;
}

kvm_sregs to_kernel(const SystemRegisters& from) {
  kvm_sregs to{};
  to.cs = to_kernel(from.cs), to.ds = to_kernel(from.ds), to.es = to_kernel(from.es);
  to.fs = to_kernel(from.fs), to.gs = to_kernel(from.gs), to.ss = to_kernel(from.ss);
  to.tr = to_kernel(from.tr), to.ldt = to_kernel(from.ldt);
  to.gdt = to_kernel(from.gdt), to.idt = to_kernel(from.idt);
  to.cr0 = from.cr0, to.cr2 = from.cr2, to.cr3 = from.cr3, to.cr4 = from.cr4, to.cr8 = from.cr8;
  to.efer = from.efer, to.apic_base = from.apic_base;
  return to;
}

DebugRegisters from_kernel(const kvm_debugregs& from) {
  DebugRegisters to;
  std::copy(std::begin(from.db), std::end(from.db), to.address.begin());
  to.dr6 = from.dr6;
  to.dr7 = from.dr7;
  return to;
}

kvm_debugregs to_kernel(const DebugRegisters& from) {
  kvm_debugregs to{};
  std::copy(from.address.begin(), from.address.end(), std::begin(to.db));
  to.dr6 = from.dr6;
  to.dr7 = from.dr7;
  return to;
}

PendingEvents from_kernel(const kvm_vcpu_events& from) {
  PendingEvents to;
  to.exception_injected = from.exception.injected != 0;
  to.exception_pending = from.exception.pending != 0;
  to.exception_has_error_code = from.exception.has_error_code != 0;
  to.exception_vector = from.exception.nr;
  to.exception_error_code = from.exception.error_code;
  if ((from.flags & KVM_VCPUEVENT_VALID_PAYLOAD) != 0) {
    to.exception_has_payload = from.exception_has_payload != 0;
    to.exception_payload = from.exception_payload;
  }
  to.interrupt_injected = from.interrupt.injected != 0;
  to.interrupt_soft = from.interrupt.soft != 0;
  to.interrupt_vector = from.interrupt.nr;
  to.interrupt_shadow = from.interrupt.shadow;
  to.nmi_injected = from.nmi.injected != 0;
  to.nmi_pending = from.nmi.pending != 0;
  to.nmi_masked = from.nmi.masked != 0;
  if ((from.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) != 0) to.triple_fault_pending = from.triple_fault.pending != 0;
  if ((from.flags & KVM_VCPUEVENT_VALID_SMM) != 0) {
    to.in_smm = from.smi.smm != 0;
    to.smi_pending = from.smi.pending != 0;
  }
  to.sipi_vector = from.sipi_vector;
  return to;
}

kvm_vcpu_events to_kernel(const PendingEvents& from, const EventFeatures& features) {
  kvm_vcpu_events to{};
  to.exception.injected = from.exception_injected;
  to.exception.pending = from.exception_pending;
  to.exception.has_error_code = from.exception_has_error_code;
  to.exception.nr = from.exception_vector;
  to.exception.error_code = from.exception_error_code;
  to.interrupt.injected = from.interrupt_injected;
  to.interrupt.soft = from.interrupt_soft;
  to.interrupt.nr = from.interrupt_vector;
  to.interrupt.shadow = from.interrupt_shadow;
  to.nmi.injected = from.nmi_injected;
  to.nmi.pending = from.nmi_pending;
  to.nmi.masked = from.nmi_masked;
  to.sipi_vector = from.sipi_vector;
  to.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR | KVM_VCPUEVENT_VALID_SHADOW;
  if (features.payload) {
    to.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
    to.exception_has_payload = from.exception_has_payload;
    to.exception_payload = from.exception_payload;
  }
  if (features.triple_fault) {
    to.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
    to.triple_fault.pending = from.triple_fault_pending;
  }
  if (features.smm) {
    to.flags |= KVM_VCPUEVENT_VALID_SMM;
    to.smi.smm = from.in_smm;
    to.smi.pending = from.smi_pending;
  }
  return to;
}

std::optional<Activity> activity_from_kernel(std::uint32_t mp_state) {
  switch (mp_state) {
    case KVM_MP_STATE_RUNNABLE:
      return Activity::running;
    case KVM_MP_STATE_UNINITIALIZED:
      return Activity::wait_for_sipi;
    case KVM_MP_STATE_INIT_RECEIVED:
      return Activity::init_received;
    case KVM_MP_STATE_HALTED:
      return Activity::halted;
    case KVM_MP_STATE_SIPI_RECEIVED:
      return Activity::sipi_received;
    case KVM_MP_STATE_STOPPED:
      return Activity::stopped;
    default:
      return std::nullopt;
  }
}

std::uint32_t to_kernel(Activity activity) {
  switch (activity) {
    case Activity::running:
      return KVM_MP_STATE_RUNNABLE;
    case Activity::halted:
      return KVM_MP_STATE_HALTED;
    case Activity::wait_for_sipi:
      return KVM_MP_STATE_UNINITIALIZED;
    case Activity::init_received:
      return KVM_MP_STATE_INIT_RECEIVED;
    case Activity::sipi_received:
      return KVM_MP_STATE_SIPI_RECEIVED;
    case Activity::stopped:
      return KVM_MP_STATE_STOPPED;
  }
  return KVM_MP_STATE_RUNNABLE;
}

CpuidEntry from_kernel(const kvm_cpuid_entry2& from) {
  return {from.function, from.index, (from.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0, from.eax, from.ebx,
          from.ecx,      from.edx};
}

kvm_cpuid_entry2 to_kernel(const CpuidEntry& from) {
  kvm_cpuid_entry2 to{};
  to.function = from.leaf;
  to.index = from.subleaf;
  to.flags = from.subleaf_matters ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
  to.eax = from.eax, to.ebx = from.ebx, to.ecx = from.ecx, to.edx = from.edx;
  return to;
}

}  // namespace trivet::kvm
