// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <variant>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>

#include "abi_messages.hpp"

namespace trivet::mshv {

/// What RUN_VP told, checked. All values.
namespace intercepts {

/// Of the instruction that was stopped, which has not happened.
struct Instruction {
  std::uint64_t rip = 0;
  std::uint64_t rflags = 0;
  std::uint8_t length = 0;  ///< 0: not told
  std::uint8_t byte_count = 0;
  std::array<std::byte, 16> bytes{};
  bool interrupt_shadow = false;
  bool long_mode_code = false;
};

struct Port {
  Instruction instruction;
  std::uint16_t port = 0;
  std::uint8_t size = 0;  ///< 1, 2 or 4
  bool write = false;
  bool string = false;
  bool repeated = false;
  std::uint64_t rax = 0;
};
struct Memory {
  Instruction instruction;
  GuestAddress at;
  bool write = false;
  bool fetch = false;
};
struct Msr {
  Instruction instruction;
  std::uint32_t number = 0;
  bool write = false;
  std::uint64_t value = 0;  ///< of a write
};
struct EndOfInterrupt {
  std::uint8_t vector = 0;
};
struct Halt {
  Instruction instruction;
};
/// The guest cannot go on: a fault while delivering a double fault.
struct Unrecoverable {};
/// The hypervisor does not enter with such registers.
struct InvalidRegister {};
/// An external interrupt can be taken now; once for each time that it was asked for.
struct Deliverable {};
/// Nothing to do: the guest goes on.
struct Notice {};

}  // namespace intercepts

using Intercept =
    std::variant<intercepts::Port, intercepts::Memory, intercepts::Msr, intercepts::EndOfInterrupt, intercepts::Halt,
                 intercepts::Unrecoverable, intercepts::InvalidRegister, intercepts::Deliverable, intercepts::Notice>;

/// Checks every length, size and number of a message for virtual processor `vp`. Errors are the host's: a kind that was
/// never asked for, or something that no processor does. Allocates nothing.
Result<Intercept> decode(const abi::Message& message, std::uint32_t vp);

}  // namespace trivet::mshv
