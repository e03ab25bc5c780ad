// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "execute.hpp"

#include <array>
#include <cstddef>

namespace trivet::mshv::emulator {

std::uint64_t Execution::effective_address() const {
  auto address = static_cast<std::uint64_t>(in_.displacement);
  if (in_.relative) address += next_;
  if (in_.base != Instruction::no_register) address += state_.gp[in_.base];
  if (in_.index != Instruction::no_register) address += state_.gp[in_.index] * in_.scale;
  return address & value_mask(in_.address_bytes);
}

bool Execution::find(const Operand& operand, Intent intent, Place& place) {
  place.operand = &operand;
  if (operand.kind != Operand::Kind::memory) return true;
  return access_.locate(static_cast<SegmentIndex>(in_.segment), effective_address(), operand.bytes, intent,
                        place.location);
}

std::uint64_t Execution::load(const Place& place) {
  const Operand& operand = *place.operand;
  std::uint64_t value = 0;
  switch (operand.kind) {
    case Operand::Kind::gp:
      return gp(operand.index, operand.bytes);
    case Operand::Kind::high_byte:
      return state_.gp[operand.index] >> 8 & 0xff;
    case Operand::Kind::segment:
      return state_.segments[operand.index].selector;
    case Operand::Kind::immediate:
      return in_.immediate;
    case Operand::Kind::memory:
      access_.read(place.location, &value);
      return value;
    default:
      return 0;
  }
}

void Execution::store(const Place& place, std::uint64_t value) {
  const Operand& operand = *place.operand;
  switch (operand.kind) {
    case Operand::Kind::gp:
      return set_gp(operand.index, value, operand.bytes);
    case Operand::Kind::high_byte:
      state_.gp[operand.index] = (state_.gp[operand.index] & ~std::uint64_t{0xff00}) | (value & 0xff) << 8;
      return;
    case Operand::Kind::memory:
      return access_.write(place.location, &value);
    default:
      return;
  }
}

bool Execution::value_of(const Operand& operand, std::uint64_t& value) {
  Place place;
  if (!find(operand, Intent::read, place)) return false;
  value = load(place);
  return true;
}

void Execution::set_gp(unsigned index, std::uint64_t value, unsigned bytes) {
  const std::uint64_t mask = value_mask(bytes);
  // Four bytes clear the upper half; one and two leave the rest.
  const std::uint64_t kept = bytes >= 4 ? 0 : state_.gp[index] & ~mask;
  state_.gp[index] = kept | (value & mask);
}

bool Execution::replace(const Place& place, std::uint64_t before, std::uint64_t after) {
  const bool locked = in_.lock || in_.operation == Operation::xchg;
  if (locked && place.operand->kind == Operand::Kind::memory) return access_.exchange(place.location, before, after);
  store(place, after);
  return true;
}

Status Execution::run() {
  using Step = Status (Execution::*)();
  using E = Execution;
  // In the order of Operation.
  // clang-format off
  static constexpr std::array<Step, static_cast<std::size_t>(Operation::jmp) + 1> steps{
      nullptr,
      &E::move, &E::move_extended, &E::move_extended, &E::move_swapped,
      &E::string, &E::string, &E::string, &E::string, &E::string, &E::string, &E::string, &E::in_port, &E::out_port,
      &E::arithmetic, &E::arithmetic, &E::arithmetic, &E::arithmetic, &E::arithmetic, &E::arithmetic, &E::arithmetic,
      &E::compare, &E::compare,
      &E::unary, &E::unary, &E::unary, &E::unary,
      &E::shift_or_rotate, &E::shift_or_rotate, &E::shift_or_rotate, &E::shift_or_rotate, &E::shift_or_rotate,
      &E::shift_or_rotate, &E::shift_or_rotate, &E::shift_or_rotate, &E::shift_or_rotate,
      &E::exchange, &E::exchange_add, &E::compare_exchange, &E::compare_exchange_pair,
      &E::bit_test, &E::bit_test, &E::bit_test, &E::bit_test,
      &E::set_condition, &E::move_conditionally,
      &E::sse_move,
      &E::push, &E::pop, &E::call, &E::jump,
  };
  // clang-format on
  static_assert(steps.back() != nullptr, "an operation has no step");
  const Step step = steps[static_cast<std::size_t>(in_.operation)];
  return step == nullptr ? Status::unsupported : (this->*step)();
}

}  // namespace trivet::mshv::emulator
