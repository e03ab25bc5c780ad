// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Arithmetic with the processor's flags. Source: Intel SDM volume 2, each instruction's page, and volume 1, appendix A.
#pragma once

#include <bit>
#include <cstdint>

#include "instruction.hpp"
#include "modes.hpp"

namespace trivet::mshv::emulator {

[[nodiscard]] constexpr std::uint64_t value_mask(unsigned bytes) {
  return bytes >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * bytes)) - 1;
}

[[nodiscard]] constexpr std::uint64_t sign_bit(unsigned bytes) {
  return std::uint64_t{1} << (8 * bytes - 1);
}

[[nodiscard]] constexpr std::uint64_t sign_extend(std::uint64_t value, unsigned bytes) {
  const unsigned unused = 64 - 8 * bytes;
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
}

[[nodiscard]] constexpr std::uint64_t flag_if(bool condition, std::uint64_t flag) {
  return condition ? flag : 0;
}

/// Sign, zero and parity of a result.
[[nodiscard]] constexpr std::uint64_t result_flags(std::uint64_t value, unsigned bytes) {
  const bool even = std::popcount(static_cast<unsigned>(value & 0xff)) % 2 == 0;
  return flag_if((value & value_mask(bytes)) == 0, flag_zero) | flag_if((value & sign_bit(bytes)) != 0, flag_sign) |
         flag_if(even, flag_parity);
}

constexpr void set_flags(std::uint64_t& flags, std::uint64_t which, std::uint64_t values) {
  flags = (flags & ~which) | values;
}

[[nodiscard]] constexpr std::uint64_t add(std::uint64_t a, std::uint64_t b, bool carry, unsigned bytes,
                                          std::uint64_t& flags) {
  const std::uint64_t mask = value_mask(bytes);
  a &= mask, b &= mask;
  const std::uint64_t result = (a + b + (carry ? 1 : 0)) & mask;
  const bool carried = carry ? result <= a : result < a;
  const bool overflowed = ((a ^ result) & (b ^ result) & sign_bit(bytes)) != 0;
  set_flags(flags, status_flags,
            result_flags(result, bytes) | flag_if(carried, flag_carry) | flag_if(overflowed, flag_overflow) |
                ((a ^ b ^ result) & flag_adjust));
  return result;
}

[[nodiscard]] constexpr std::uint64_t subtract(std::uint64_t a, std::uint64_t b, bool borrow, unsigned bytes,
                                               std::uint64_t& flags) {
  const std::uint64_t mask = value_mask(bytes);
  a &= mask, b &= mask;
  const std::uint64_t result = (a - b - (borrow ? 1 : 0)) & mask;
  const bool borrowed = borrow ? a <= b : a < b;
  const bool overflowed = ((a ^ b) & (a ^ result) & sign_bit(bytes)) != 0;
  set_flags(flags, status_flags,
            result_flags(result, bytes) | flag_if(borrowed, flag_carry) | flag_if(overflowed, flag_overflow) |
                ((a ^ b ^ result) & flag_adjust));
  return result;
}

/// AND, OR, XOR, TEST: the adjust flag is undefined, and clear here as on the processors there are.
[[nodiscard]] constexpr std::uint64_t logic(std::uint64_t result, unsigned bytes, std::uint64_t& flags) {
  result &= value_mask(bytes);
  set_flags(flags, status_flags, result_flags(result, bytes));
  return result;
}

/// Shifts and rotates by `count` as the instruction holds it.
[[nodiscard]] std::uint64_t shift(Operation operation, std::uint64_t value, std::uint64_t count, unsigned bytes,
                                  std::uint64_t& flags);

/// SHLD and SHRD: bits of `fill` come in.
[[nodiscard]] std::uint64_t double_shift(Operation operation, std::uint64_t value, std::uint64_t fill,
                                         std::uint64_t count, unsigned bytes, std::uint64_t& flags);

/// The conditions of SETcc and CMOVcc, by the low four bits of their opcodes.
[[nodiscard]] constexpr bool holds(unsigned condition, std::uint64_t flags) {
  const bool below = (flags & flag_carry) != 0;
  const bool zero = (flags & flag_zero) != 0;
  const bool less = ((flags & flag_sign) != 0) != ((flags & flag_overflow) != 0);
  bool found = false;
  switch (condition >> 1) {
    case 0:
      found = (flags & flag_overflow) != 0;
      break;
    case 1:
      found = below;
      break;
    case 2:
      found = zero;
      break;
    case 3:
      found = below || zero;
      break;
    case 4:
      found = (flags & flag_sign) != 0;
      break;
    case 5:
      found = (flags & flag_parity) != 0;
      break;
    case 6:
      found = less;
      break;
    default:
      found = less || zero;
      break;
  }
  return found != ((condition & 1) != 0);
}

}  // namespace trivet::mshv::emulator
