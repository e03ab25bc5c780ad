// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The state elements of a vCPU, and the order in which KVM wants them (see README.md, "State").
#include <algorithm>
#include <cstring>
#include <string>

#include <trivet/core/capability.hpp>

#include "cpuid_x86_64.hpp"
#include "ioctl.hpp"
#include "msrs_x86_64.hpp"
#include "vcpu.hpp"

namespace trivet::kvm {
namespace {

constexpr auto save_operation = "save vCPU state";
constexpr auto restore_operation = "restore vCPU state";
constexpr std::size_t least_xsave = 576;          // legacy region and header
constexpr std::size_t kernel_xsave = 4096;        // what KVM_SET_XSAVE reads at least
constexpr std::uint32_t tsc_tolerance_ppm = 250;  // what KVM itself takes for the same frequency

Error malformed(const char* why) {
  return Error(Errc::malformed, restore_operation, why);
}

}  // namespace

StateSupport state_support(StateElement element, const Context& context) noexcept {
  const bool has_lapic = context.has_lapic();
  switch (element) {
    case StateElement::general_registers:
    case StateElement::system_registers:
    case StateElement::xsave:
    case StateElement::extended_control:
    case StateElement::activity:
    case StateElement::events:
    case StateElement::debug_registers:
      return {true, true, true};
    case StateElement::lapic:
      return {has_lapic, has_lapic, false};  // its timer's count goes on
    case StateElement::msrs:
      return {true, true, false};  // some count by themselves
    case StateElement::tsc: {
      const bool settable = context.device.quirks().settable_tsc;
      return {settable, settable, false};  // and so does this
    }
    case StateElement::cpuid:
      return {true, false, true};  // it names KVM
  }
  return {};
}

Result<SystemRegisters> KvmVcpu::read_system_registers() const {
  kvm_sregs sregs{};
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_GET_SREGS, kvm_sregs), &sregs));
  return from_kernel(sregs);
}

Result<void> KvmVcpu::write_system_registers(const SystemRegisters& registers) {
  auto sregs = to_kernel(registers);
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_SET_SREGS, kvm_sregs), &sregs));
  // Without a LAPIC in the kernel KVM_RUN takes CR8 from the shared page.
  run().cr8 = registers.cr8;
  return {};
}

Result<Xsave> KvmVcpu::read_xsave() const {
  const int size = ::ioctl(context_.vm(), KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
  Xsave xsave;
  xsave.area.resize(std::max(kernel_xsave, static_cast<std::size_t>(std::max(size, 0))));
  // SAFETY: kvm_xsave is bytes; a vector's storage is aligned for it, and as large as the kernel says it writes.
  auto* area = reinterpret_cast<kvm_xsave*>(xsave.area.data());
  if (size > 0) {
    TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_GET_XSAVE2, kvm_xsave), area));
  } else {
    TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_GET_XSAVE, kvm_xsave), area));
  }
  return xsave;
}

Result<void> KvmVcpu::write_xsave(const Xsave& xsave) {
  const int size = ::ioctl(context_.vm(), KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
  const auto room = std::max(kernel_xsave, static_cast<std::size_t>(std::max(size, 0)));
  auto area = xsave.area;
  if (area.size() > room && std::any_of(area.begin() + static_cast<std::ptrdiff_t>(room), area.end(),
                                        [](std::uint8_t byte) { return byte != 0; })) {
    return Error::unsupported(restore_operation, "the xsave area uses a feature beyond this host's");
  }
  area.resize(room);
  // SAFETY: as above; the kernel reads `room` bytes.
  return perform(fd(), TRIVET_KVM_REQUEST(KVM_SET_XSAVE, kvm_xsave), reinterpret_cast<kvm_xsave*>(area.data()),
                 "xsave");
}

Result<ExtendedControl> KvmVcpu::read_extended_control() const {
  kvm_xcrs xcrs{};
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_GET_XCRS, kvm_xcrs), &xcrs));
  for (std::uint32_t i = 0; i < std::min<std::uint32_t>(xcrs.nr_xcrs, KVM_MAX_XCRS); ++i) {
    if (xcrs.xcrs[i].xcr == 0) return ExtendedControl{xcrs.xcrs[i].value};
  }
  return ExtendedControl{1};  // a processor without XSAVE: the x87 bit, as after reset
}

Result<void> KvmVcpu::write_extended_control(const ExtendedControl& control) {
  kvm_xcrs xcrs{};
  xcrs.nr_xcrs = 1;
  xcrs.xcrs[0].value = control.xcr0;
  const auto written = call(fd(), TRIVET_KVM_REQUEST(KVM_SET_XCRS, kvm_xcrs), &xcrs, "xcr0");
  // A host without XSAVE refuses every value; the one that reset gives means nothing there.
  if (!written && control.xcr0 > 1) return written.error();
  return {};
}

Result<LapicRegisters> KvmVcpu::read_lapic() const {
  kvm_lapic_state lapic{};
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_GET_LAPIC, kvm_lapic_state), &lapic));
  LapicRegisters registers;
  std::memcpy(registers.page.data(), lapic.regs, registers.page.size());
  return registers;
}

Result<void> KvmVcpu::write_lapic(const LapicRegisters& registers) {
  kvm_lapic_state lapic{};
  std::memcpy(lapic.regs, registers.page.data(), registers.page.size());
  return perform(fd(), TRIVET_KVM_REQUEST(KVM_SET_LAPIC, kvm_lapic_state), &lapic, "lapic");
}

Result<Activity> KvmVcpu::read_activity() const {
  kvm_mp_state state{};
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_GET_MP_STATE, kvm_mp_state), &state));
  if (const auto activity = activity_from_kernel(state.mp_state)) return *activity;
  return Error::from_hypervisor(state.mp_state, save_operation, "an activity that Trivet does not know");
}

Result<void> KvmVcpu::write_activity(Activity activity) {
  kvm_mp_state state{};
  state.mp_state = to_kernel(activity);
  return perform(fd(), TRIVET_KVM_REQUEST(KVM_SET_MP_STATE, kvm_mp_state), &state, "activity");
}

Result<PendingEvents> KvmVcpu::read_events() const {
  TRIVET_TRY(flush_nmi());
  kvm_vcpu_events events{};
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_GET_VCPU_EVENTS, kvm_vcpu_events), &events));
  return from_kernel(events);
}

Result<void> KvmVcpu::write_events(const PendingEvents& events) {
  if (events.triple_fault_pending && !context_.events.triple_fault) {
    return Error::unsupported(restore_operation, "a pending triple fault");
  }
  if ((events.in_smm || events.smi_pending) && !context_.events.smm)
    return Error::unsupported(restore_operation, "SMM");
  auto kernel = to_kernel(events, context_.events);
  return perform(fd(), TRIVET_KVM_REQUEST(KVM_SET_VCPU_EVENTS, kvm_vcpu_events), &kernel, "events");
}

Result<DebugRegisters> KvmVcpu::read_debug_registers() const {
  kvm_debugregs registers{};
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_GET_DEBUGREGS, kvm_debugregs), &registers));
  return from_kernel(registers);
}

Result<Tsc> KvmVcpu::read_tsc() const {
  TRIVET_ASSIGN(const auto value, read_msr(fd(), msr_tsc));
  const auto khz = call(fd(), TRIVET_KVM_REQUEST(KVM_GET_TSC_KHZ, void));
  return Tsc{value, khz ? static_cast<std::uint32_t>(*khz) : 0};
}

Result<void> KvmVcpu::write_tsc_frequency(std::uint32_t khz) {
  const auto now = call(fd(), TRIVET_KVM_REQUEST(KVM_GET_TSC_KHZ, void));
  if (now && *now > 0) {
    const auto own = static_cast<std::uint32_t>(*now);
    const auto apart = std::max(own, khz) - std::min(own, khz);
    if (std::uint64_t{apart} * 1'000'000 <= std::uint64_t{own} * tsc_tolerance_ppm) return {};
  }
  if (call(fd(), TRIVET_KVM_REQUEST(KVM_SET_TSC_KHZ, void), khz)) return {};
  return Error(Errc::unsupported, restore_operation,
               "the TSC ran at " + std::to_string(khz) + " kHz; this host cannot scale its own to that", Blame::host);
}

Result<void> KvmVcpu::write_cpuid_entries(std::span<const CpuidEntry> entries) {
  auto written = write_cpuid(fd(), entries);
  if (!written && written.error().code() == Errc::invalid_argument && progress_.ran) {
    return Error(Errc::bad_state, "set CPUID", "the vCPU has run; KVM takes no other CPUID then");
  }
  return written;
}

Result<void> KvmVcpu::settled(const char* operation) const {
  const auto not_now = [&](const char* why) {
    return Error(Errc::bad_state, operation, "vCPU " + std::to_string(index_) + ": " + why);
  };
  if (progress_.msr_answer_owed) return not_now("an MSR access waits for its answer");
  if (progress_.half_done) return not_now("an access is half done; drain the runner first");
  return {};
}

Result<VcpuState> KvmVcpu::save(StateElements elements) const {
  const StateCall state_call(*this);
  if (!state_call.ok()) return running(save_operation);
  TRIVET_TRY(settled(save_operation));
  VcpuState state;
  TRIVET_TRY(save_into(state, elements));
  return state;
}

Result<void> KvmVcpu::save_into(VcpuState& state, StateElements elements) const {
  const auto wanted = [&](StateElement element) {
    return elements.contains(element) && state_support(element, context_).present;
  };
  // First: it makes KVM take an INIT or a startup IPI that waits, which changes registers.
  if (wanted(StateElement::activity)) {
    TRIVET_ASSIGN(state.activity, read_activity());
  }
  if (wanted(StateElement::events)) {
    TRIVET_ASSIGN(state.events, read_events());
  }
  if (wanted(StateElement::general_registers)) {
    kvm_regs regs{};
    TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_GET_REGS, kvm_regs), &regs));
    state.general_registers = from_kernel(regs);
  }
  if (wanted(StateElement::system_registers)) {
    TRIVET_ASSIGN(state.system_registers, read_system_registers());
  }
  if (wanted(StateElement::xsave)) {
    TRIVET_ASSIGN(state.xsave, read_xsave());
  }
  if (wanted(StateElement::extended_control)) {
    TRIVET_ASSIGN(state.extended_control, read_extended_control());
  }
  if (wanted(StateElement::debug_registers)) {
    TRIVET_ASSIGN(state.debug_registers, read_debug_registers());
  }
  if (wanted(StateElement::lapic)) {
    TRIVET_ASSIGN(state.lapic, read_lapic());
  }
  if (wanted(StateElement::tsc)) {
    TRIVET_ASSIGN(state.tsc, read_tsc());
  }
  if (wanted(StateElement::msrs)) {
    TRIVET_ASSIGN(state.msrs, msrs_.read(fd()));
  }
  if (wanted(StateElement::cpuid)) {
    TRIVET_ASSIGN(state.cpuid, read_cpuid(fd()));
  }
  return {};
}

Result<void> KvmVcpu::check_present(const VcpuState& state) const {
  const auto elements = state.elements();
  for (const auto element : all_state_elements()) {
    if (elements.contains(element) && !state_support(element, context_).present) {
      return Error::unsupported(restore_operation, to_string(element));
    }
  }
  if (state.xsave && state.xsave->area.size() < least_xsave) return malformed("xsave is shorter than 576 bytes");
  if (state.extended_control && (state.extended_control->xcr0 & 1) == 0) return malformed("xcr0 without x87");
  if (state.general_registers && (state.general_registers->rflags & 2) == 0) return malformed("rflags without bit 1");
  if (state.events && (state.events->exception_injected || state.events->exception_pending) &&
      state.events->exception_vector > 31)
    return malformed("an exception beyond vector 31");
  if (state.activity && !context_.has_lapic() && *state.activity != Activity::running) {
    return Error::unsupported(restore_operation, "an activity other than running, without an interrupt controller");
  }
  return {};
}

Result<void> KvmVcpu::restore(const VcpuState& state) {
  const StateCall state_call(*this);
  if (!state_call.ok()) return running(restore_operation);
  TRIVET_TRY(settled(restore_operation));
  TRIVET_TRY(check_present(state));
  // The state decides about NMIs too: one asked for before it is gone with the old state.
  if (state.events) nmi_asked_.store(false);
  return restore_from(state);
}

Result<void> KvmVcpu::restore_from(const VcpuState& state) {
  if (state.cpuid) TRIVET_TRY(write_cpuid_entries(*state.cpuid));
  if (state.tsc && state.tsc->frequency_khz != 0) TRIVET_TRY(write_tsc_frequency(state.tsc->frequency_khz));
  if (state.system_registers) TRIVET_TRY(write_system_registers(*state.system_registers));
  if (state.general_registers) {
    auto regs = to_kernel(*state.general_registers);
    TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_SET_REGS, kvm_regs), &regs));
  }
  if (state.xsave) TRIVET_TRY(write_xsave(*state.xsave));
  if (state.extended_control) TRIVET_TRY(write_extended_control(*state.extended_control));
  if (state.debug_registers) {
    auto registers = to_kernel(*state.debug_registers);
    TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_SET_DEBUGREGS, kvm_debugregs), &registers, "debug_registers"));
  }
  if (state.lapic) TRIVET_TRY(write_lapic(*state.lapic));                   // after apic_base
  if (state.tsc) TRIVET_TRY(write_msr(fd(), {msr_tsc, state.tsc->value}));  // before its deadline
  if (state.msrs) TRIVET_TRY(MsrList::write(fd(), *state.msrs));            // after EFER and the LAPIC's timer mode
  if (state.activity) TRIVET_TRY(write_activity(*state.activity));          // after sregs, which may wake vCPU 0
  if (state.events) TRIVET_TRY(write_events(*state.events));  // last: KVM_SET_REGS drops a pending exception
  return {};
}

}  // namespace trivet::kvm
