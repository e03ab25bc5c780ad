// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "vcpu.hpp"

#include <string>

#include <trivet/core/capability.hpp>

namespace trivet::xen {

Result<void> XenVcpu::check_stopped(const char* operation) const {
  if (context_.phase != Phase::running) return {};
  return Error(Errc::bad_state, operation, "vCPU " + std::to_string(index_) + " is running; pause the VM first");
}

Result<void> XenVcpu::check_settled(const char* operation) const {
  TRIVET_TRY(check_stopped(operation));
  if (!server_.outstanding(index_)) return {};
  return Error(Errc::bad_state, operation,
               "vCPU " + std::to_string(index_) + ": an access is half done; drain the runner first");
}

Result<hvm_hw_cpu> XenVcpu::read_cpu() const {
  hvm_hw_cpu cpu{};
  // SAFETY: the record is this struct, byte for byte.
  const std::span bytes(reinterpret_cast<std::uint8_t*>(&cpu), sizeof cpu);
  TRIVET_ASSIGN(const bool up, context_.domctl->read_record(
                                   context_.domain, static_cast<std::uint16_t>(RecordType::cpu), instance(), bytes));
  return up ? cpu : down_;
}

Result<XenVcpu::Contexts> XenVcpu::read_contexts() const {
  // The whole of it: only then Xen samples every TSC at one moment, to which the writing sets them back.
  TRIVET_ASSIGN(const auto bytes, context_.domctl->context(context_.domain));
  Contexts contexts;
  TRIVET_ASSIGN(contexts.whole, HvmContext::parse(bytes));
  for (const auto& record : contexts.whole.records()) {
    switch (record.type) {
      case RecordType::header:
      case RecordType::cpu:    // a vCPU without one is taken down
      case RecordType::xsave:  // loading the one before resets what this holds
        contexts.out.put(record.type, record.instance, record.bytes);
        break;
      default:
        break;
    }
  }
  return contexts;
}

Result<void> XenVcpu::write(const HvmContext& context) const {
  return context_.domctl->set_context(context_.domain, context.serialise());
}

Result<void> XenVcpu::write_changed(Contexts& contexts, std::optional<Activity> activity) {
  // The boot vCPU of a guest that ended is down, too, but waits for nothing: a new state is a new start.
  const bool starts_anew = index_ == 0 && context_.phase == Phase::ended;
  const bool is_down = contexts.whole.find(RecordType::cpu, instance()) == nullptr && !starts_anew;
  const bool goes_down = activity ? *activity == Activity::wait_for_sipi : is_down;
  hvm_hw_cpu registers = down_;
  if (goes_down) {
    (void)contexts.out.get(RecordType::cpu, instance(), registers);
    contexts.out.erase(RecordType::cpu, instance());
    contexts.out.erase(RecordType::xsave, instance());
  }
  TRIVET_TRY(write(contexts.out));
  down_ = registers;
  return {};
}

Result<void> XenVcpu::change_cpu(const std::function<Result<void>(hvm_hw_cpu& cpu)>& change) {
  TRIVET_ASSIGN(auto contexts, read_contexts());
  hvm_hw_cpu cpu{};
  if (!contexts.out.get(RecordType::cpu, instance(), cpu)) cpu = down_;
  TRIVET_TRY(change(cpu));
  contexts.out.put(RecordType::cpu, instance(), cpu);
  return write_changed(contexts, std::nullopt);
}

Result<void> XenVcpu::set_up() {
  if (index_ != 0) return {};
  TRIVET_ASSIGN(auto contexts, read_contexts());
  contexts.out.put(RecordType::cpu, instance(), down_);
  return write_changed(contexts, Activity::running);
}

Result<GeneralRegisters> XenVcpu::registers() const {
  TRIVET_TRY(check_stopped("read registers"));
  TRIVET_ASSIGN(const auto cpu, read_cpu());
  return general_registers(cpu);
}

Result<void> XenVcpu::set_registers(const GeneralRegisters& registers) {
  TRIVET_TRY(check_stopped("write registers"));
  return change_cpu([&](hvm_hw_cpu& cpu) {
    put(cpu, registers);
    return Result<void>{};
  });
}

Result<SystemRegisters> XenVcpu::system_registers() const {
  TRIVET_TRY(check_stopped("read system registers"));
  TRIVET_ASSIGN(const auto contexts, read_contexts());
  TRIVET_ASSIGN(const auto state, save_from(contexts.whole, {StateElement::system_registers}));
  return *state.system_registers;
}

Result<void> XenVcpu::set_system_registers(const SystemRegisters& registers) {
  TRIVET_TRY(check_stopped("write system registers"));
  TRIVET_ASSIGN(auto contexts, read_contexts());
  VcpuState state;
  state.system_registers = registers;
  TRIVET_TRY(put_state(contexts, state));
  return write_changed(contexts, std::nullopt);
}

Result<void> XenVcpu::inject_nmi() {
  return context_.domctl->trigger_nmi(context_.domain, index_);
}

Result<void> XenVcpu::set_debug(const DebugControl& control) {
  const bool any = control.single_step || control.software_breakpoints || control.hardware_breakpoints;
  if (!any) return {};
  const auto missing = control.single_step            ? Cap::single_step
                       : control.software_breakpoints ? Cap::software_breakpoints
                                                      : Cap::breakpoints;
  return Error::unsupported("debug a vCPU", to_string(missing));
}

Result<void> XenVcpu::answer_msr(std::optional<std::uint64_t> /*value*/) {
  return Error::unsupported("answer an MSR access", to_string(Cap::msr_exits));
}

Result<void> XenVcpu::answer_hypercall(std::uint64_t /*value*/) {
  return Error::unsupported("answer a hypercall", to_string(Cap::hypercall_exits));
}

}  // namespace trivet::xen
