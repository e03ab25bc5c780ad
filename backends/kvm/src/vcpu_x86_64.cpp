// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <string>

#include <trivet/core/capability.hpp>
#include <trivet/core/page_walk_x86_64.hpp>

#include "ioctl.hpp"
#include "vcpu.hpp"

namespace trivet::kvm {
namespace {

constexpr std::uint8_t nmi_vector = 2;
constexpr std::uint8_t vectors_of_exceptions = 32;

}  // namespace

Result<void> KvmVcpu::set_cpuid(std::span<const CpuidEntry> entries) {
  const StateCall state(*this);
  if (!state.ok()) return running("set CPUID");
  return write_cpuid_entries(entries);
}

Result<std::optional<Translation>> KvmVcpu::translate(GuestVirtualAddress at) const {
  const StateCall state(*this);
  if (!state.ok()) return running("translate an address");
  TRIVET_ASSIGN(const auto system, read_system_registers());
  return walk_pages(system, at,
                    [this](GuestAddress entry, void* to, std::size_t bytes) { return memory_.read(entry, to, bytes); });
}

Result<void> KvmVcpu::inject(const Exception& exception) {
  constexpr auto operation = "inject an exception";
  const StateCall state(*this);
  if (!state.ok()) return running(operation);
  if (exception.vector >= vectors_of_exceptions || exception.vector == nmi_vector) {
    return Error(Errc::invalid_argument, operation,
                 "vector " + std::to_string(exception.vector) + " is no exception (0-31 without 2)");
  }
  TRIVET_ASSIGN(auto events, read_events());
  if (events.exception_injected || events.exception_pending) {
    return Error(Errc::bad_state, operation,
                 "exception " + std::to_string(events.exception_vector) + " is pending already");
  }
  events.exception_injected = true;
  events.exception_vector = exception.vector;
  events.exception_has_error_code = exception.has_error_code;
  events.exception_error_code = exception.error_code;
  events.exception_has_payload = false;
  events.exception_payload = 0;
  return write_events(events);
}

Result<void> KvmVcpu::answer_msr(std::optional<std::uint64_t> value) {
  constexpr auto operation = "answer an MSR access";
  const StateCall state(*this);
  if (!state.ok()) return running(operation);
  if (!progress_.msr_answer_owed) return Error(Errc::bad_state, operation, "no MSR access waits for an answer");
  run().msr.error = value ? 0 : 1;
  if (value && run().exit_reason == KVM_EXIT_X86_RDMSR) run().msr.data = *value;
  progress_.msr_answer_owed = false;
  progress_.half_done = true;
  return {};
}

Result<void> KvmVcpu::set_interrupt_pin(bool asserted) noexcept {
  if (context_.config.irqchip != IrqchipKind::split) {
    return Error::unsupported("drive an interrupt pin", to_string(Cap::external_interrupts));
  }
  if (interrupt_pin_.exchange(asserted, std::memory_order_seq_cst) != asserted && asserted) kicker_.nudge();
  return {};
}

/// As an injected event, not with KVM_INTERRUPT: a vector that KVM has taken by that and not yet delivered is in no
/// state that can be read. Such an event wakes nobody from HLT.
Result<void> KvmVcpu::deliver_external(std::uint8_t vector) const {
  kvm_vcpu_events events{};
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_GET_VCPU_EVENTS, kvm_vcpu_events), &events));
  events.flags &= KVM_VCPUEVENT_VALID_PAYLOAD;
  events.interrupt.injected = 1;
  events.interrupt.nr = vector;
  events.interrupt.soft = 0;
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_SET_VCPU_EVENTS, kvm_vcpu_events), &events));
  kvm_mp_state activity{};
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_GET_MP_STATE, kvm_mp_state), &activity));
  if (activity.mp_state != KVM_MP_STATE_HALTED) return {};
  activity.mp_state = KVM_MP_STATE_RUNNABLE;
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_SET_MP_STATE, kvm_mp_state), &activity));
  return {};
}

Result<void> KvmVcpu::answer_hypercall(std::uint64_t /*value*/) {
  return Error::unsupported("answer a hypercall", to_string(Cap::hypercall_exits));
}

}  // namespace trivet::kvm
