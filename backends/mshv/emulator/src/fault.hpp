// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

namespace trivet::mshv::emulator {

/// Exceptions that an instruction here can end in. Source: Intel SDM volume 3, table 6-1.
enum class Vector : std::uint8_t {
  debug = 1,
  invalid_opcode = 6,
  device_not_available = 7,
  segment_not_present = 11,
  stack = 12,
  general_protection = 13,
  page_fault = 14,
  alignment_check = 17,
};

/// Why an instruction stopped.
struct Fault {
  Vector vector = Vector::general_protection;
  std::uint32_t error_code = 0;
  std::uint64_t address = 0;  ///< page faults: CR2
};

[[nodiscard]] constexpr bool has_error_code(Vector vector) {
  return vector >= Vector::segment_not_present;
}

}  // namespace trivet::mshv::emulator
