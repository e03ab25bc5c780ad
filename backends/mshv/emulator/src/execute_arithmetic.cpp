// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Arithmetic and its read-modify-write relatives. Source: Intel SDM volume 2.
#include <array>
#include <cstring>

#include "execute.hpp"

namespace trivet::mshv::emulator {
namespace {

std::uint64_t combine(Operation operation, std::uint64_t a, std::uint64_t b, unsigned bytes, std::uint64_t& flags) {
  const bool carry = (flags & flag_carry) != 0;
  switch (operation) {
    case Operation::add:
      return add(a, b, false, bytes, flags);
    case Operation::adc:
      return add(a, b, carry, bytes, flags);
    case Operation::sub:
    case Operation::cmp:
      return subtract(a, b, false, bytes, flags);
    case Operation::sbb:
      return subtract(a, b, carry, bytes, flags);
    case Operation::or_:
      return logic(a | b, bytes, flags);
    case Operation::xor_:
      return logic(a ^ b, bytes, flags);
    default:
      return logic(a & b, bytes, flags);
  }
}

/// INC and DEC leave the carry.
void keep_carry(std::uint64_t before, std::uint64_t& flags) {
  set_flags(flags, flag_carry, before & flag_carry);
}

std::uint64_t alone(Operation operation, std::uint64_t value, unsigned bytes, std::uint64_t& flags) {
  const std::uint64_t before = flags;
  std::uint64_t result = 0;
  switch (operation) {
    case Operation::not_:
      return ~value;
    case Operation::neg:
      return subtract(0, value, false, bytes, flags);
    case Operation::inc:
      result = add(value, 1, false, bytes, flags);
      break;
    default:
      result = subtract(value, 1, false, bytes, flags);
      break;
  }
  keep_carry(before, flags);
  return result;
}

}  // namespace

Status Execution::arithmetic() {
  const Operand& from = in_.operands[1];
  if (from.kind == Operand::Kind::memory) {
    std::uint64_t value = 0;
    if (!value_of(from, value)) return Status::fault;
    return modify(in_.operands[0], [&](std::uint64_t before, std::uint64_t& flags) {
      return combine(in_.operation, before, value, in_.bytes, flags);
    });
  }
  const std::uint64_t value = load({&from, {}});
  return modify(in_.operands[0], [&](std::uint64_t before, std::uint64_t& flags) {
    return combine(in_.operation, before, value, in_.bytes, flags);
  });
}

Status Execution::compare() {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  if (!value_of(in_.operands[0], a) || !value_of(in_.operands[1], b)) return Status::fault;
  (void)combine(in_.operation, a, b, in_.bytes, state_.rflags);
  return Status::done;
}

Status Execution::unary() {
  return modify(in_.operands[0], [&](std::uint64_t before, std::uint64_t& flags) {
    return alone(in_.operation, before, in_.bytes, flags);
  });
}

Status Execution::shift_or_rotate() {
  const bool twice = in_.operation == Operation::shld || in_.operation == Operation::shrd;
  const std::uint64_t count = load({&in_.operands[twice ? 2 : 1], {}});
  const std::uint64_t fill = twice ? load({&in_.operands[1], {}}) : 0;
  return modify(in_.operands[0], [&](std::uint64_t before, std::uint64_t& flags) {
    return twice ? double_shift(in_.operation, before, fill, count, in_.bytes, flags)
                 : shift(in_.operation, before, count, in_.bytes, flags);
  });
}

Status Execution::exchange_add() {
  const Place other{&in_.operands[1], {}};
  const std::uint64_t value = load(other);
  std::uint64_t was = 0;
  std::uint64_t sum = 0;
  const auto status = modify(in_.operands[0], [&](std::uint64_t before, std::uint64_t& flags) {
    was = before;
    sum = add(before, value, false, in_.bytes, flags);
    return sum;
  });
  if (status != Status::done) return status;
  store(other, was);
  if (in_.operands[0].kind != Operand::Kind::memory) store({&in_.operands[0], {}}, sum);  // both may be one register
  return status;
}

Status Execution::compare_exchange() {
  const std::uint64_t given = load({&in_.operands[1], {}});
  const std::uint64_t accumulator = gp(rax, in_.bytes);
  std::uint64_t was = 0;
  const auto status = modify(in_.operands[0], [&](std::uint64_t before, std::uint64_t& flags) {
    was = before;
    (void)subtract(accumulator, before, false, in_.bytes, flags);
    return before == accumulator ? given : before;  // the destination is written either way
  });
  if (status == Status::done && was != accumulator) set_gp(rax, was, in_.bytes);
  return status;
}

Status Execution::compare_exchange_pair() {
  const unsigned half = in_.bytes / 2U;
  Location location;
  const unsigned alignment = in_.bytes == 16 ? 16 : 1;
  if (!access_.locate(static_cast<SegmentIndex>(in_.segment), effective_address(), in_.bytes, Intent::write, location,
                      alignment)) {
    return Status::fault;
  }
  while (true) {
    std::array<std::byte, 16> bytes{};
    access_.read(location, bytes.data());
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    std::memcpy(&low, bytes.data(), half);
    std::memcpy(&high, bytes.data() + half, half);
    const bool equal = low == gp(rax, half) && high == gp(rdx, half);
    std::array<std::byte, 16> wanted = bytes;
    if (equal) {
      std::memcpy(wanted.data(), &state_.gp[rbx], half);
      std::memcpy(wanted.data() + half, &state_.gp[rcx], half);
    }
    if (in_.lock && in_.bytes == 8) {
      std::uint64_t before = 0;
      std::uint64_t after = 0;
      std::memcpy(&before, bytes.data(), 8);
      std::memcpy(&after, wanted.data(), 8);
      if (!access_.exchange(location, before, after)) continue;
    } else {
      access_.write(location, wanted.data());
    }
    if (!equal) set_gp(rax, low, half), set_gp(rdx, high, half);
    set_flags(state_.rflags, flag_zero, flag_if(equal, flag_zero));
    return Status::done;
  }
}

}  // namespace trivet::mshv::emulator
