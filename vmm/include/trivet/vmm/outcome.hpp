// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <trivet/core/error.hpp>

namespace trivet::vmm {

/// How a machine's run ended.
enum class End : std::uint8_t {
  power_off,     ///< the guest switched itself off
  reset,         ///< the guest asked for a reset
  stopped,       ///< `Machine::stop` or a person at the terminal
  triple_fault,  ///< the guest's processor gave up
  crash,         ///< the guest cannot go on: it said so, or its state or an access is impossible
  failed,        ///< the host or its hypervisor failed
};

[[nodiscard]] std::string_view to_string(End end);

/// How a machine ended.
struct Outcome {
  End end = End::stopped;
  std::string detail;          ///< what a person wants to know; may be empty
  std::optional<Error> error;  ///< for End::failed
};

/// What `trivet run` exits with: 0 for power_off, reset and stopped; 1 failed; 3 triple_fault; 4 crash. (2 is for
/// options that cannot be; 128 + n for a run that signal n ended.)
[[nodiscard]] int exit_code(End end);

}  // namespace trivet::vmm
