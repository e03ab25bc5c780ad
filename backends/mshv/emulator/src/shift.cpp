// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "alu.hpp"

namespace trivet::mshv::emulator {
namespace {

struct Shifted {
  std::uint64_t value;
  bool carry;
};

bool bit_at(std::uint64_t value, unsigned bit) {
  return bit < 64 && (value >> bit & 1) != 0;
}

std::uint64_t left(std::uint64_t value, unsigned count) {
  return count < 64 ? value << count : 0;
}
std::uint64_t right(std::uint64_t value, unsigned count) {
  return count < 64 ? value >> count : 0;
}

Shifted rotate_left(std::uint64_t value, unsigned count, unsigned bits) {
  count %= bits;
  const std::uint64_t result = count == 0 ? value : left(value, count) | right(value, bits - count);
  return {result, bit_at(result, 0)};
}

Shifted rotate_right(std::uint64_t value, unsigned count, unsigned bits) {
  count %= bits;
  const std::uint64_t result = count == 0 ? value : right(value, count) | left(value, bits - count);
  return {result, bit_at(result, bits - 1)};
}

/// The carry is one more bit, above the value; `count` is 1 to `bits`.
Shifted rotate_left_carry(std::uint64_t value, unsigned count, unsigned bits, bool carry) {
  const std::uint64_t in = left(carry ? 1 : 0, count - 1);
  return {left(value, count) | in | right(value, bits + 1 - count), bit_at(value, bits - count)};
}

Shifted rotate_right_carry(std::uint64_t value, unsigned count, unsigned bits, bool carry) {
  const std::uint64_t in = left(carry ? 1 : 0, bits - count);
  return {right(value, count) | in | left(value, bits + 1 - count), bit_at(value, count - 1)};
}

bool is_rotate(Operation operation) {
  return operation >= Operation::rol && operation <= Operation::rcr;
}

Shifted shifted(Operation operation, std::uint64_t value, unsigned count, unsigned bytes, bool carry) {
  const unsigned bits = 8 * bytes;
  switch (operation) {
    case Operation::rol:
      return rotate_left(value, count, bits);
    case Operation::ror:
      return rotate_right(value, count, bits);
    case Operation::rcl:
      return rotate_left_carry(value, count, bits, carry);
    case Operation::rcr:
      return rotate_right_carry(value, count, bits, carry);
    case Operation::shl:
      return {left(value, count), count <= bits && bit_at(value, bits - count)};
    case Operation::shr:
      return {right(value, count), bit_at(value, count - 1)};
    default: {
      const std::uint64_t wide = sign_extend(value, bytes);
      const auto moved = static_cast<std::uint64_t>(static_cast<std::int64_t>(wide) >> (count < 64 ? count : 63));
      return {moved, bit_at(wide, count - 1)};
    }
  }
}

/// Defined for a count of 1 only; the same formula holds the value that processors give for the others.
bool overflows(Operation operation, std::uint64_t before, std::uint64_t after, bool carry, unsigned bytes) {
  const bool top = (after & sign_bit(bytes)) != 0;
  switch (operation) {
    case Operation::rol:
    case Operation::rcl:
    case Operation::shl:
      return top != carry;
    case Operation::ror:
    case Operation::rcr:
      return top != ((after & sign_bit(bytes) >> 1) != 0);
    case Operation::shr:
      return (before & sign_bit(bytes)) != 0;
    default:
      return false;
  }
}

}  // namespace

std::uint64_t shift(Operation operation, std::uint64_t value, std::uint64_t count, unsigned bytes,
                    std::uint64_t& flags) {
  value &= value_mask(bytes);
  auto times = static_cast<unsigned>(count & (bytes == 8 ? 0x3f : 0x1f));
  if (operation == Operation::rcl || operation == Operation::rcr) times %= 8 * bytes + 1;
  if (times == 0) return value;
  const auto [moved, carry] = shifted(operation, value, times, bytes, (flags & flag_carry) != 0);
  const std::uint64_t result = moved & value_mask(bytes);
  const std::uint64_t found =
      flag_if(carry, flag_carry) | flag_if(overflows(operation, value, result, carry, bytes), flag_overflow);
  if (is_rotate(operation)) {
    set_flags(flags, flag_carry | flag_overflow, found);
  } else {
    set_flags(flags, status_flags, found | result_flags(result, bytes));
  }
  return result;
}

std::uint64_t double_shift(Operation operation, std::uint64_t value, std::uint64_t fill, std::uint64_t count,
                           unsigned bytes, std::uint64_t& flags) {
  const unsigned bits = 8 * bytes;
  value &= value_mask(bytes), fill &= value_mask(bytes);
  const auto times = static_cast<unsigned>(count & (bytes == 8 ? 0x3f : 0x1f));
  if (times == 0) return value;
  if (times > bits) return value;  // 16 bits by more than 16: all undefined, and nothing happens here
  const bool to_left = operation == Operation::shld;
  const std::uint64_t moved =
      to_left ? left(value, times) | right(fill, bits - times) : right(value, times) | left(fill, bits - times);
  const std::uint64_t result = moved & value_mask(bytes);
  const bool carry = to_left ? bit_at(value, bits - times) : bit_at(value, times - 1);
  const bool turned = ((value ^ result) & sign_bit(bytes)) != 0;
  set_flags(flags, status_flags,
            flag_if(carry, flag_carry) | flag_if(turned, flag_overflow) | result_flags(result, bytes));
  return result;
}

}  // namespace trivet::mshv::emulator
