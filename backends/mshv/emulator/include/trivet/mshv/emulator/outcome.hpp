// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include <trivet/core/registers_x86_64.hpp>

namespace trivet::mshv::emulator {

/// How an emulated instruction ended. A value.
struct Outcome {
  enum class Kind : std::uint8_t {
    done,          ///< executed; RIP stands behind it
    again,         ///< a repeated string instruction has more to do: run it again, or let the guest re-enter
    exception,     ///< give the guest `exception`; the state is as the processor leaves it for the delivery
    unsupported,   ///< a valid instruction that this emulator does not execute; nothing changed
    not_in_ram,    ///< the instruction itself does not lie in RAM; nothing changed
    host_failure,  ///< `Cpu` could not give or take a register; nothing changed
  };

  Kind kind = Kind::done;
  Exception exception{};
  bool interrupt_shadow = false;         ///< `done`: SS was loaded, so no interrupt before the next instruction
  std::uint8_t length = 0;               ///< of `bytes`
  std::array<std::uint8_t, 15> bytes{};  ///< the instruction, for `unsupported`
};

[[nodiscard]] std::string_view to_string(Outcome::Kind kind);

}  // namespace trivet::mshv::emulator
