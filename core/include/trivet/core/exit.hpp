// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <variant>

#include <trivet/core/address.hpp>

namespace trivet {

/// Why `Runner::run` came back. I/O is not among them: it went to the IoHandler.
namespace exits {

/// Someone called `Kicker::kick`.
struct Kicked {};
/// The vCPU executed HLT and the hypervisor has no interrupt controller to wake it.
struct Halted {};
/// The guest asked for a reset through an interface of the hypervisor.
struct Reset {};
/// The guest powered itself off through an interface of the hypervisor.
struct PowerOff {};
/// x86: a fault while delivering a double fault; the guest cannot go on.
struct TripleFault {};
/// The guest reported its own crash through an interface of the hypervisor.
struct Crash {};

/// A single step, breakpoint or watchpoint that `Vcpu::set_debug` asked for.
struct Debug {
  std::uint64_t instruction_pointer = 0;
  std::uint64_t dr6 = 0;             ///< x86: which condition, as DR6 shows it
  bool software_breakpoint = false;  ///< INT3 rather than a debug register or a step
};

/// A hypercall. Answer with `Vcpu::answer_hypercall` before the next run.
struct Hypercall {
  std::uint64_t number = 0;
  std::array<std::uint64_t, 6> arguments{};
};

/// An access to an MSR that MsrIntercepts named. Answer with `Vcpu::answer_msr` before the next run.
struct Msr {
  std::uint32_t index = 0;
  bool write = false;
  std::uint64_t value = 0;  ///< what a write carries
};

/// The guest touched memory that is mapped but cannot be reached as it stands (for example private against shared).
struct MemoryFault {
  GuestRange range;
  bool write = false;
};

/// The processor refused to enter the guest; the state is impossible. `reason` is the hardware's number.
struct EntryFailure {
  std::uint64_t reason = 0;
};

/// An instruction that the hypervisor should have emulated and could not. `length` bytes of it are in `bytes`.
struct EmulationFailure {
  std::uint64_t instruction_pointer = 0;
  std::uint8_t length = 0;
  std::array<std::uint8_t, 15> bytes{};
};

}  // namespace exits

using Exit = std::variant<exits::Kicked, exits::Halted, exits::Reset, exits::PowerOff, exits::TripleFault, exits::Crash,
                          exits::Debug, exits::Hypercall, exits::Msr, exits::MemoryFault, exits::EntryFailure,
                          exits::EmulationFailure>;

/// The exit's name in lower case, for logs and tables.
[[nodiscard]] std::string_view name(const Exit& exit);

}  // namespace trivet
