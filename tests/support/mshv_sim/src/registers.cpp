// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "registers.hpp"

#include <array>
#include <cstring>

namespace trivet::mshv_sim {

using mshv::abi::RegisterValue;
using mshv::abi::SegmentRegister;
namespace reg = mshv::abi::reg;
namespace interruption = mshv::abi::interruption;
namespace event = mshv::abi::event;
namespace activity_bit = mshv::abi::activity_bit;

namespace {

struct MsrName {
  std::uint32_t name;
  std::uint32_t msr;
};
constexpr std::array named_msrs{
    MsrName{reg::tsc, 0x10},
    MsrName{reg::kernel_gs_base, 0xc0000102},
    MsrName{reg::pat, 0x277},
    MsrName{reg::sysenter_cs, 0x174},
    MsrName{reg::sysenter_eip, 0x176},
    MsrName{reg::sysenter_esp, 0x175},
    MsrName{reg::star, 0xc0000081},
    MsrName{reg::lstar, 0xc0000082},
    MsrName{reg::cstar, 0xc0000083},
    MsrName{reg::sfmask, 0xc0000084},
    MsrName{reg::mtrr_cap, 0xfe},
    MsrName{reg::mtrr_def_type, 0x2ff},
    MsrName{reg::mtrr_fix64k, 0x250},
    MsrName{reg::mtrr_fix64k + 1, 0x258},
    MsrName{reg::mtrr_fix64k + 2, 0x259},
    MsrName{reg::tsc_aux, 0xc0000103},
    MsrName{reg::spec_ctrl, 0x48},
    MsrName{reg::tsc_deadline, 0x6e0},
    MsrName{reg::tsc_adjust, 0x3b},
};

std::optional<std::uint32_t> msr_of(std::uint32_t name) {
  for (const auto& entry : named_msrs)
    if (entry.name == name) return entry.msr;
  if (name >= reg::mtrr_phys_base0 && name < reg::mtrr_phys_base0 + 8) return 0x200 + 2 * (name - reg::mtrr_phys_base0);
  if (name >= reg::mtrr_phys_mask0 && name < reg::mtrr_phys_mask0 + 8) return 0x201 + 2 * (name - reg::mtrr_phys_mask0);
  if (name >= reg::mtrr_fix64k + 3 && name < reg::mtrr_fix64k + 11) return 0x268 + (name - reg::mtrr_fix64k - 3);
  return std::nullopt;
}

kvm_segment from_message(const SegmentRegister& from) {
  kvm_segment to{};
  to.base = from.base;
  to.limit = from.limit;
  to.selector = from.selector;
  const auto bits = from.attributes;
  to.type = bits & 0xf;
  to.s = bits >> 4 & 1;
  to.dpl = bits >> 5 & 3;
  to.present = bits >> 7 & 1;
  to.avl = bits >> 12 & 1;
  to.l = bits >> 13 & 1;
  to.db = bits >> 14 & 1;
  to.g = static_cast<__u8>(bits >> 15 & 1);
  to.unusable = to.present == 0;
  return to;
}

/// kvm_msrs with one entry.
struct MsrBlock {
  std::uint32_t count;
  std::uint32_t padding;
  kvm_msr_entry entry;
};

}  // namespace

SegmentRegister to_message(const kvm_segment& from) {
  SegmentRegister to{};
  to.base = from.base;
  to.limit = from.limit;
  to.selector = from.selector;
  // A segment without use has no present bit.
  const unsigned present = from.unusable != 0 ? 0 : from.present;
  to.attributes = static_cast<std::uint16_t>((from.type & 15U) | (from.s & 1U) << 4 | (from.dpl & 3U) << 5 |
                                             present << 7 | (from.avl & 1U) << 12 | (from.l & 1U) << 13 |
                                             (from.db & 1U) << 14 | (from.g & 1U) << 15);
  return to;
}

std::uint64_t& gp_reference(kvm_regs& r, unsigned index) {
  const std::array<__u64*, 16> all{&r.rax, &r.rcx, &r.rdx, &r.rbx, &r.rsp, &r.rbp, &r.rsi, &r.rdi,
                                   &r.r8,  &r.r9,  &r.r10, &r.r11, &r.r12, &r.r13, &r.r14, &r.r15};
  static_assert(sizeof(__u64) == sizeof(std::uint64_t));
  // SAFETY: the kernel's 64-bit type and ours differ in name only.
  return *reinterpret_cast<std::uint64_t*>(all[index & 15]);
}

kvm_segment* RegisterFile::segment(std::uint32_t name) {
  auto& s = sregs();
  const std::array<kvm_segment*, 8> all{&s.es, &s.cs, &s.ss, &s.ds, &s.fs, &s.gs, &s.ldt, &s.tr};
  return name >= reg::es && name <= reg::tr ? all[name - reg::es] : nullptr;
}

std::uint64_t* RegisterFile::control(std::uint32_t name) {
  auto& s = sregs();
  __u64* found = nullptr;
  switch (name) {
    case reg::cr0:
      found = &s.cr0;
      break;
    case reg::cr2:
      found = &s.cr2;
      break;
    case reg::cr3:
      found = &s.cr3;
      break;
    case reg::cr4:
      found = &s.cr4;
      break;
    case reg::cr8:
      found = &s.cr8;
      break;
    case reg::efer:
      found = &s.efer;
      break;
    case reg::apic_base:
      found = &s.apic_base;
      break;
    default:
      return nullptr;
  }
  // SAFETY: as above.
  return reinterpret_cast<std::uint64_t*>(found);
}

bool RegisterFile::read_msr(std::uint32_t index, std::uint64_t& value) const {
  MsrBlock block{};
  block.count = 1;
  block.entry.index = index;
  if (kvm_call(fd_, KVM_GET_MSRS, &block) != 1) return false;
  value = block.entry.data;
  return true;
}
bool RegisterFile::write_msr(std::uint32_t index, std::uint64_t value) const {
  MsrBlock block{};
  block.count = 1;
  block.entry = {index, 0, value};
  return kvm_call(fd_, KVM_SET_MSRS, &block) == 1;
}

bool RegisterFile::get(std::uint32_t name, RegisterValue& value) {
  value = {};
  if (name >= reg::rax && name < reg::rax + 16)
    value.low = gp_reference(regs(), name - reg::rax);
  else if (name == reg::rip)
    value.low = regs().rip;
  else if (name == reg::rflags)
    value.low = regs().rflags;
  else if (const auto* selected = segment(name)) {
    auto shown = to_message(*selected);
    if (wrong_segments_) shown.attributes ^= 0x1000;
    std::memcpy(&value, &shown, sizeof value);
  } else if (name == reg::gdtr || name == reg::idtr) {
    const auto& table = name == reg::gdtr ? sregs().gdt : sregs().idt;
    mshv::abi::TableRegister shown{};
    shown.limit = table.limit;
    shown.base = table.base;
    std::memcpy(&value, &shown, sizeof value);
  } else if (const auto* selected_control = control(name))
    value.low = *selected_control;
  else if (name >= reg::dr0 && name < reg::dr0 + 4)
    value.low = debug().db[name - reg::dr0];
  else if (name == reg::dr6)
    value.low = debug().dr6;
  else if (name == reg::dr7)
    value.low = debug().dr7;
  else
    return get_other(name, value);
  return !failed_;
}

bool RegisterFile::get_other(std::uint32_t name, RegisterValue& value) {
  if (name >= reg::xmm0 && name <= reg::xmm_control_status) return get_float(name, value);
  if (name >= reg::pending_interruption && name <= reg::pending_event0) return get_event(name, value);
  if (name == reg::activity) {
    kvm_mp_state state{};
    if (kvm_call(fd_, KVM_GET_MP_STATE, &state) < 0) return false;
    if (state.mp_state == KVM_MP_STATE_HALTED) value.low = activity_bit::halt;
    if (state.mp_state == KVM_MP_STATE_UNINITIALIZED || state.mp_state == KVM_MP_STATE_INIT_RECEIVED)
      value.low = activity_bit::startup;
    return true;
  }
  if (name == reg::explicit_suspend || name == reg::intercept_suspend) return true;
  if (name == reg::deliverability_notifications) {
    value.low = run_.request_interrupt_window != 0 ? mshv::abi::deliverability::interrupt : 0;
    return true;
  }
  if (name == reg::xfem) {
    kvm_xcrs xcrs{};
    value.low = 1;
    if (kvm_call(fd_, KVM_GET_XCRS, &xcrs) == 0 && xcrs.nr_xcrs > 0) value.low = xcrs.xcrs[0].value;
    return true;
  }
  const auto msr = msr_of(name);
  if (!msr || !read_msr(*msr, value.low)) return false;
  if (name == reg::tsc) value.low += tsc_ahead_;
  return true;
}

bool RegisterFile::set(std::uint32_t name, const RegisterValue& value) {
  if (name >= reg::rax && name < reg::rax + 16)
    gp_reference(regs(), name - reg::rax) = value.low, regs_changed_ = true;
  else if (name == reg::rip)
    regs().rip = value.low, regs_changed_ = true;
  else if (name == reg::rflags)
    regs().rflags = value.low, regs_changed_ = true;
  else if (auto* selected = segment(name)) {
    SegmentRegister given{};
    std::memcpy(&given, &value, sizeof given);
    *selected = from_message(given);
    sregs_changed_ = true;
  } else if (name == reg::gdtr || name == reg::idtr) {
    mshv::abi::TableRegister given{};
    std::memcpy(&given, &value, sizeof given);
    auto& table = name == reg::gdtr ? sregs().gdt : sregs().idt;
    table.base = given.base;
    table.limit = given.limit;
    sregs_changed_ = true;
  } else if (auto* selected_control = control(name))
    *selected_control = value.low, sregs_changed_ = true;
  else if (name >= reg::dr0 && name < reg::dr0 + 4)
    debug().db[name - reg::dr0] = value.low, debug_changed_ = true;
  else if (name == reg::dr6)
    debug().dr6 = value.low, debug_changed_ = true;
  else if (name == reg::dr7)
    debug().dr7 = value.low, debug_changed_ = true;
  else
    return set_other(name, value);
  return !failed_;
}

bool RegisterFile::set_other(std::uint32_t name, const RegisterValue& value) {
  if (name >= reg::xmm0 && name <= reg::xmm_control_status) return set_float(name, value);
  if (name >= reg::pending_interruption && name <= reg::pending_event0) return set_event(name, value);
  if (name == reg::activity) {
    kvm_mp_state state{KVM_MP_STATE_RUNNABLE};
    if ((value.low & activity_bit::halt) != 0) state.mp_state = KVM_MP_STATE_HALTED;
    if ((value.low & activity_bit::startup) != 0) state.mp_state = KVM_MP_STATE_UNINITIALIZED;
    // Registers first: writing them may wake a halted processor.
    return flush() && kvm_call(fd_, KVM_SET_MP_STATE, &state) == 0;
  }
  if (name == reg::explicit_suspend || name == reg::intercept_suspend) return true;
  if (name == reg::deliverability_notifications) {
    run_.request_interrupt_window = (value.low & mshv::abi::deliverability::interrupt) != 0 ? 1 : 0;
    return (value.low & ~mshv::abi::deliverability::interrupt) == 0;
  }
  if (name == reg::xfem) {
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].value = value.low;
    return kvm_call(fd_, KVM_SET_XCRS, &xcrs) == 0 || value.low == 1;
  }
  if (name == reg::tsc) return write_tsc(value.low);
  const auto msr = msr_of(name);
  return msr && *msr != 0xfe && write_msr(*msr, value.low);
}

bool RegisterFile::write_tsc(std::uint64_t value) {
  constexpr std::uint32_t msr_tsc = 0x10;
  std::uint64_t now = 0;
  if (!write_msr(msr_tsc, value) || !read_msr(msr_tsc, now)) return false;
  constexpr std::uint64_t soon = 1U << 30;
  tsc_ahead_ = now - value < soon ? 0 : value - now;
  return true;
}

bool RegisterFile::get_event(std::uint32_t name, RegisterValue& value) {
  const auto& e = events();
  if (name == reg::interrupt_state) {
    value.low = (e.interrupt.shadow != 0 ? 1U : 0U) | (e.nmi.masked != 0 ? 2U : 0U);
  } else if (name == reg::pending_event0) {
    if (e.exception.pending != 0) {
      value.low = event::pending | std::uint64_t{e.exception.nr} << event::vector_shift;
      if (e.exception.has_error_code != 0)
        value.low |= event::has_error_code | std::uint64_t{e.exception.error_code} << event::error_shift;
      if (e.exception_has_payload != 0) value.high = e.exception_payload;
    }
  } else if (e.exception.injected != 0) {
    value.low = interruption::pending | interruption::exception << interruption::type_shift |
                std::uint64_t{e.exception.nr} << interruption::vector_shift;
    if (e.exception.has_error_code != 0)
      value.low |= interruption::has_error_code | std::uint64_t{e.exception.error_code} << interruption::error_shift;
  } else if (e.nmi.injected != 0) {
    value.low =
        interruption::pending | interruption::nmi << interruption::type_shift | 2U << interruption::vector_shift;
  } else if (e.interrupt.injected != 0) {
    const auto type = e.interrupt.soft != 0 ? interruption::software : interruption::external;
    value.low = interruption::pending | type << interruption::type_shift |
                std::uint64_t{e.interrupt.nr} << interruption::vector_shift;
  }
  return !failed_;
}

bool RegisterFile::set_event(std::uint32_t name, const RegisterValue& value) {
  auto& e = events();
  const auto low = value.low;
  events_changed_ = true;
  if (name == reg::interrupt_state) {
    e.interrupt.shadow = (low & 1) != 0 ? KVM_X86_SHADOW_INT_STI : 0;
    e.nmi.masked = (low & 2) != 0 ? 1 : 0;
    return true;
  }
  if (name == reg::pending_event0) {
    if (e.exception.pending != 0) e.exception = {};
    e.exception_has_payload = 0;
    if ((low & event::pending) == 0) return true;
    if ((low & event::type_mask) == event::external_interrupt) {
      e.interrupt.injected = 1;
      e.interrupt.nr = static_cast<__u8>(low >> event::external_vector_shift);
      e.interrupt.soft = 0;
      return wake_ = true;
    }
    if ((low & event::type_mask) != 0) return false;
    e.exception.pending = 1;
    e.exception.nr = static_cast<__u8>(low >> event::vector_shift);
    e.exception.has_error_code = (low & event::has_error_code) != 0 ? 1 : 0;
    e.exception.error_code = static_cast<__u32>(low >> event::error_shift);
    if (value.high != 0) e.exception_has_payload = 1, e.exception_payload = value.high;
    return true;
  }
  const auto type = low >> interruption::type_shift & 7;
  const auto vector = static_cast<__u8>(low >> interruption::vector_shift);
  const bool pending = (low & interruption::pending) != 0;
  if (e.exception.pending == 0) e.exception = {};
  e.nmi.injected = 0;
  e.interrupt.injected = 0;
  if (!pending) return true;
  if (type == interruption::exception) {
    e.exception = {};
    e.exception.injected = 1;
    e.exception.nr = vector;
    e.exception.has_error_code = (low & interruption::has_error_code) != 0 ? 1 : 0;
    e.exception.error_code = static_cast<__u32>(low >> interruption::error_shift);
  } else if (type == interruption::nmi) {
    e.nmi.injected = 1;
  } else if (type == interruption::external || type == interruption::software) {
    e.interrupt.injected = 1;
    e.interrupt.nr = vector;
    e.interrupt.soft = type == interruption::software ? 1 : 0;
  } else {
    return false;
  }
  return true;
}

bool RegisterFile::get_float(std::uint32_t name, RegisterValue& value) {
  const auto& f = fpu();
  if (name < reg::mmx0) {
    std::memcpy(&value, f.xmm[name - reg::xmm0], 16);
  } else if (name < reg::fp_control_status) {
    std::memcpy(&value, f.fpr[name - reg::mmx0], 16);
  } else if (name == reg::fp_control_status) {
    value.low = std::uint64_t{f.fcw} | std::uint64_t{f.fsw} << 16 | std::uint64_t{f.ftwx} << 32 |
                std::uint64_t{f.last_opcode} << 48;
    value.high = f.last_ip;
  } else {
    value.low = f.last_dp;
    value.high = f.mxcsr | std::uint64_t{0xffff} << 32;
  }
  return !failed_;
}

bool RegisterFile::set_float(std::uint32_t name, const RegisterValue& value) {
  auto& f = fpu();
  fpu_changed_ = true;
  if (name < reg::mmx0) {
    std::memcpy(f.xmm[name - reg::xmm0], &value, 16);
  } else if (name < reg::fp_control_status) {
    std::memcpy(f.fpr[name - reg::mmx0], &value, 16);
  } else if (name == reg::fp_control_status) {
    f.fcw = static_cast<__u16>(value.low);
    f.fsw = static_cast<__u16>(value.low >> 16);
    f.ftwx = static_cast<__u8>(value.low >> 32);
    f.last_opcode = static_cast<__u16>(value.low >> 48);
    f.last_ip = value.high;
  } else {
    f.last_dp = value.low;
    f.mxcsr = static_cast<__u32>(value.high);
  }
  return !failed_;
}

bool RegisterFile::flush() {
  bool good = !failed_;
  if (sregs_changed_) {
    std::memset(sregs_->interrupt_bitmap, 0, sizeof sregs_->interrupt_bitmap);
    good = kvm_call(fd_, KVM_SET_SREGS, &*sregs_) == 0 && good;
  }
  // A pending exception does not survive KVM_SET_REGS.
  if (regs_changed_ && !events_) (void)events();
  if (regs_changed_) good = kvm_call(fd_, KVM_SET_REGS, &*regs_) == 0 && good;
  if (fpu_changed_) good = kvm_call(fd_, KVM_SET_FPU, &*fpu_) == 0 && good;
  if (debug_changed_) good = kvm_call(fd_, KVM_SET_DEBUGREGS, &*debug_) == 0 && good;
  if (events_changed_ || (regs_changed_ && events_->exception.pending != 0)) {
    auto& e = *events_;
    e.flags &= KVM_VCPUEVENT_VALID_PAYLOAD;
    e.flags |= KVM_VCPUEVENT_VALID_SHADOW;
    good = kvm_call(fd_, KVM_SET_VCPU_EVENTS, &e) == 0 && good;
  }
  if (wake_) {  // KVM's injected event wakes nobody from HLT
    kvm_mp_state state{};
    if (kvm_call(fd_, KVM_GET_MP_STATE, &state) == 0 && state.mp_state == KVM_MP_STATE_HALTED) {
      state.mp_state = KVM_MP_STATE_RUNNABLE;
      good = kvm_call(fd_, KVM_SET_MP_STATE, &state) == 0 && good;
    }
  }
  wake_ = false;
  sregs_changed_ = regs_changed_ = fpu_changed_ = debug_changed_ = events_changed_ = false;
  return good;
}

}  // namespace trivet::mshv_sim
