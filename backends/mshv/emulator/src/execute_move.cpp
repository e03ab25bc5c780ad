// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Moves, exchanges and ports. Source: Intel SDM volume 2.
#include <array>
#include <cstring>
#include <utility>

#include "execute.hpp"

namespace trivet::mshv::emulator {

Status Execution::move() {
  const auto& [to, from, none] = in_.operands;
  if (to.kind == Operand::Kind::segment) {
    std::uint64_t selector = 0;
    if (!value_of(from, selector)) return Status::fault;
    return load_segment(static_cast<SegmentIndex>(to.index), static_cast<std::uint16_t>(selector));
  }
  Place place;
  std::uint64_t value = 0;
  if (!find(to, Intent::write, place) || !value_of(from, value)) return Status::fault;
  store(place, value);
  return Status::done;
}

Status Execution::move_extended() {
  const auto& [to, from, none] = in_.operands;
  std::uint64_t value = 0;
  if (!value_of(from, value)) return Status::fault;
  if (in_.operation == Operation::movsx) value = sign_extend(value, from.bytes);
  set_gp(to.index, value, to.bytes);
  return Status::done;
}

Status Execution::move_swapped() {
  const auto& [to, from, none] = in_.operands;
  Place place;
  std::uint64_t value = 0;
  if (!find(to, Intent::write, place) || !value_of(from, value)) return Status::fault;
  store(place, __builtin_bswap64(value) >> (64 - 8 * in_.bytes));
  return Status::done;
}

/// The operand is read whether or not it is moved, and 32 bits clear the upper half whether or not they come.
Status Execution::move_conditionally() {
  const auto& [to, from, none] = in_.operands;
  std::uint64_t value = 0;
  if (!value_of(from, value)) return Status::fault;
  if (!holds(in_.condition, state_.rflags)) value = gp(to.index, to.bytes);
  set_gp(to.index, value, to.bytes);
  return Status::done;
}

Status Execution::set_condition() {
  Place place;
  if (!find(in_.operands[0], Intent::write, place)) return Status::fault;
  store(place, holds(in_.condition, state_.rflags) ? 1 : 0);
  return Status::done;
}

Status Execution::exchange() {
  const bool memory_second = in_.operands[1].kind == Operand::Kind::memory;
  const Operand& first = in_.operands[memory_second ? 1 : 0];
  const Place other{&in_.operands[memory_second ? 0 : 1], {}};
  const std::uint64_t given = load(other);
  std::uint64_t taken = 0;
  const auto status = modify(first, [&](std::uint64_t before, std::uint64_t&) {
    taken = before;
    return given;
  });
  if (status == Status::done) store(other, taken);
  return status;
}

Status Execution::in_port() {
  const auto& [to, from, none] = in_.operands;
  std::uint64_t port = 0;
  (void)value_of(from, port);  // a register or a number
  if (!may_use_port(static_cast<std::uint16_t>(port), to.bytes)) return Status::fault;
  std::array<std::byte, 4> data{};
  io_.pio_read(static_cast<std::uint16_t>(port), Bytes(data).first(to.bytes));
  std::uint64_t value = 0;
  std::memcpy(&value, data.data(), to.bytes);
  set_gp(rax, value, to.bytes);
  return Status::done;
}

Status Execution::out_port() {
  const auto& [to, from, none] = in_.operands;
  std::uint64_t port = 0;
  (void)value_of(to, port);
  if (!may_use_port(static_cast<std::uint16_t>(port), from.bytes)) return Status::fault;
  const std::uint64_t value = gp(rax, from.bytes);
  std::array<std::byte, 4> data{};
  std::memcpy(data.data(), &value, from.bytes);
  io_.pio_write(static_cast<std::uint16_t>(port), ConstBytes(data).first(from.bytes));
  return Status::done;
}

}  // namespace trivet::mshv::emulator
