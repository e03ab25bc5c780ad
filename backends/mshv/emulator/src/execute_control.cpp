// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The stack and near jumps. Source: Intel SDM volume 2.
#include "execute.hpp"

namespace trivet::mshv::emulator {

/// Where a push of `bytes` goes, and what the stack pointer is after it.
bool Execution::push_place(unsigned bytes, Location& location, std::uint64_t& pointer) {
  pointer = (state_.gp[rsp] - bytes) & value_mask(stack_address_bytes(state_));
  return access_.locate(ss, pointer, bytes, Intent::write, location);
}

Status Execution::push() {
  if (in_.operands[0].kind == Operand::Kind::segment) return Status::unsupported;
  Location location;
  std::uint64_t pointer = 0;
  std::uint64_t value = 0;
  Place place;
  if (!find(in_.operands[0], Intent::read, place) || !push_place(in_.bytes, location, pointer)) return Status::fault;
  value = load(place);
  access_.write(location, &value);
  set_gp(rsp, pointer, stack_address_bytes(state_));
  return Status::done;
}

/// An address made with the stack pointer sees it after the pop.
Status Execution::pop() {
  if (in_.operands[0].kind == Operand::Kind::segment) return Status::unsupported;
  const unsigned width = stack_address_bytes(state_);
  const std::uint64_t before = state_.gp[rsp];
  Location location;
  Place place;
  if (!access_.locate(ss, gp(rsp, width), in_.bytes, Intent::read, location)) return Status::fault;
  set_gp(rsp, before + in_.bytes, width);
  if (!find(in_.operands[0], Intent::write, place)) {
    state_.gp[rsp] = before;
    return Status::fault;
  }
  std::uint64_t value = 0;
  access_.read(location, &value);
  store(place, value);
  return Status::done;
}

bool Execution::may_jump(std::uint64_t& target) {
  if (in_.operands[0].kind == Operand::Kind::immediate) target += next_;
  target &= value_mask(in_.bytes);
  if (!is_64bit(state_)) {
    return target <= state_.segments[cs].limit || access_.raise(Vector::general_protection);
  }
  const unsigned unused = (state_.cr4 & cr4_la57) != 0 ? 7 : 16;
  const auto extended = static_cast<std::uint64_t>(static_cast<std::int64_t>(target << unused) >> unused);
  return extended == target || access_.raise(Vector::general_protection);
}

Status Execution::call() {
  Location location;
  std::uint64_t pointer = 0;
  std::uint64_t target = 0;
  Place place;
  if (!find(in_.operands[0], Intent::read, place) || !push_place(in_.bytes, location, pointer)) return Status::fault;
  target = load(place);
  if (!may_jump(target)) return Status::fault;
  access_.write(location, &next_);
  set_gp(rsp, pointer, stack_address_bytes(state_));
  next_ = target;
  return Status::done;
}

Status Execution::jump() {
  std::uint64_t target = 0;
  if (!value_of(in_.operands[0], target) || !may_jump(target)) return Status::fault;
  next_ = target;
  return Status::done;
}

}  // namespace trivet::mshv::emulator
