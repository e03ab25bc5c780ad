// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What an x86 vCPU is given and asked, beside its state.
#include <string>

#include <trivet/core/capability.hpp>
#include <trivet/core/page_walk_x86_64.hpp>

#include "hypercall.hpp"
#include "registers_x86_64.hpp"
#include "vcpu.hpp"

namespace trivet::mshv {
namespace {

constexpr unsigned vectors_of_exceptions = 32;
constexpr unsigned nmi_vector = 2;
constexpr std::uint8_t general_protection = 13;
constexpr std::uint8_t msr_instruction_length = 2;

}  // namespace

Result<void> MshvVcpu::set_cpuid(std::span<const CpuidEntry> entries) {
  const StateCall state(*this);
  if (!state.ok()) return running("set CPUID");
  return write_cpuid_entries(entries);
}

Result<std::optional<Translation>> MshvVcpu::translate(GuestVirtualAddress at) const {
  const StateCall state(*this);
  if (!state.ok()) return running("translate an address");
  TRIVET_ASSIGN(const auto system, read_system());
  return walk_pages(system, at,
                    [this](GuestAddress from, void* to, std::size_t bytes) { return memory_.read(from, to, bytes); });
}

Result<std::optional<GuestAddress>> MshvVcpu::translate_code(std::uint64_t rip) const {
  TRIVET_ASSIGN(const auto system, read_system());
  const auto linear = system.cs.long_mode ? rip : (system.cs.base + rip) & 0xffff'ffff;
  const auto found = walk_pages(system, {linear}, [this](GuestAddress from, void* to, std::size_t bytes) {
    return memory_.read(from, to, bytes);
  });
  return found ? std::optional(found->address) : std::nullopt;
}

Result<void> MshvVcpu::inject(const Exception& exception) {
  constexpr auto operation = "inject an exception";
  const StateCall state(*this);
  if (!state.ok()) return running(operation);
  if (exception.vector >= vectors_of_exceptions || exception.vector == nmi_vector) {
    return Error(Errc::invalid_argument, operation,
                 "vector " + std::to_string(exception.vector) + " is no exception (0-31 without 2)");
  }
  TRIVET_ASSIGN(const auto events, read_events());
  if (events.exception_injected || events.exception_pending) {
    return Error(Errc::bad_state, operation,
                 "exception " + std::to_string(events.exception_vector) + " is pending already");
  }
  return write_one(abi::reg::pending_interruption, interruption_of(exception));
}

Result<void> MshvVcpu::set_debug(const DebugControl& control) {
  const StateCall state(*this);
  if (!state.ok()) return running("set debugging");
  if (control.single_step) return Error::unsupported("set debugging", to_string(Cap::single_step));
  if (control.software_breakpoints) return Error::unsupported("set debugging", to_string(Cap::software_breakpoints));
  if (control.hardware_breakpoints) return Error::unsupported("set debugging", to_string(Cap::breakpoints));
  return {};
}

Result<void> MshvVcpu::answer_msr(std::optional<std::uint64_t> value) {
  constexpr auto operation = "answer an MSR access";
  const StateCall state(*this);
  if (!state.ok()) return running(operation);
  if (!progress_.msr) return Error(Errc::bad_state, operation, "no MSR access waits for an answer");
  const auto access = *progress_.msr;
  if (!value) {
    TRIVET_TRY(write_one(abi::reg::pending_interruption, interruption_of({general_protection, true, 0})));
  } else {
    const auto& instruction = access.instruction;
    const auto length = instruction.length != 0 ? instruction.length : msr_instruction_length;
    auto next = instruction.rip + length;
    if (!instruction.long_mode_code) next &= 0xffff'ffff;
    const std::array assignments{assign(abi::reg::rip, next), assign(abi::reg::rax, *value & 0xffff'ffff),
                                 assign(abi::reg::rax + 2, *value >> 32)};
    TRIVET_TRY(write(std::span(assignments).first(access.write ? 1 : assignments.size())));
    if (instruction.interrupt_shadow) {
      TRIVET_ASSIGN(const auto before, read_one(abi::reg::interrupt_state));
      TRIVET_TRY(write_one(abi::reg::interrupt_state, before & ~std::uint64_t{1}));
    }
  }
  progress_.msr.reset();
  return {};
}

Result<void> MshvVcpu::answer_hypercall(std::uint64_t /*value*/) {
  return Error::unsupported("answer a hypercall", to_string(Cap::hypercall_exits));
}

}  // namespace trivet::mshv
