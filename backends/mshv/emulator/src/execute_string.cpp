// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// String instructions. Source: Intel SDM volume 1, 7.3.9, and volume 2, REP.
#include <array>

#include "execute.hpp"

namespace trivet::mshv::emulator {

bool Execution::source(Location& location) {
  return access_.locate(static_cast<SegmentIndex>(in_.segment), gp(rsi, in_.address_bytes), in_.bytes, Intent::read,
                        location);
}

/// The destination's segment cannot be overridden.
bool Execution::destination(Intent intent, Location& location) {
  return access_.locate(es, gp(rdi, in_.address_bytes), in_.bytes, intent, location);
}

void Execution::advance(Gp index) {
  const std::uint64_t step = in_.bytes;
  const bool down = (state_.rflags & flag_direction) != 0;
  set_gp(index, down ? state_.gp[index] - step : state_.gp[index] + step, in_.address_bytes);
}

/// Everything that faults comes before the first access that a device sees.
Status Execution::string_step() {
  Location from;
  Location to;
  std::uint64_t value = 0;
  std::uint64_t other = 0;
  switch (in_.operation) {
    case Operation::movs:
      if (!source(from) || !destination(Intent::write, to)) return Status::fault;
      access_.read(from, &value);
      access_.write(to, &value);
      advance(rsi), advance(rdi);
      return Status::done;
    case Operation::stos:
      if (!destination(Intent::write, to)) return Status::fault;
      access_.write(to, &state_.gp[rax]);
      advance(rdi);
      return Status::done;
    case Operation::lods:
      if (!source(from)) return Status::fault;
      access_.read(from, &value);
      set_gp(rax, value, in_.bytes);
      advance(rsi);
      return Status::done;
    case Operation::cmps:
      if (!source(from) || !destination(Intent::read, to)) return Status::fault;
      access_.read(from, &value);
      access_.read(to, &other);
      (void)subtract(value, other, false, in_.bytes, state_.rflags);
      advance(rsi), advance(rdi);
      return Status::done;
    case Operation::scas:
      if (!destination(Intent::read, to)) return Status::fault;
      access_.read(to, &other);
      (void)subtract(state_.gp[rax], other, false, in_.bytes, state_.rflags);
      advance(rdi);
      return Status::done;
    case Operation::ins: {
      if (!destination(Intent::write, to)) return Status::fault;
      std::array<std::byte, 8> data{};
      io_.pio_read(static_cast<std::uint16_t>(state_.gp[rdx]), Bytes(data).first(in_.bytes));
      access_.write(to, data.data());
      advance(rdi);
      return Status::done;
    }
    default: {
      if (!source(from)) return Status::fault;
      std::array<std::byte, 8> data{};
      access_.read(from, data.data());
      io_.pio_write(static_cast<std::uint16_t>(state_.gp[rdx]), ConstBytes(data).first(in_.bytes));
      advance(rsi);
      return Status::done;
    }
  }
}

bool Execution::string_finished() const {
  if (gp(rcx, in_.address_bytes) == 0) return true;
  if (in_.operation != Operation::cmps && in_.operation != Operation::scas) return false;
  const bool equal = (state_.rflags & flag_zero) != 0;
  return equal != (in_.repeat == Repeat::while_equal);
}

Status Execution::string() {
  const bool port = in_.operation == Operation::ins || in_.operation == Operation::outs;
  if (port && !may_use_port(static_cast<std::uint16_t>(state_.gp[rdx]), in_.bytes)) return Status::fault;
  if (in_.repeat == Repeat::none) return string_step();
  if (gp(rcx, in_.address_bytes) == 0) return Status::done;
  for (std::uint32_t i = 0; i < repeat_limit_; ++i) {
    if (string_step() == Status::fault) return Status::fault;  // what was done before stays
    set_gp(rcx, state_.gp[rcx] - 1, in_.address_bytes);
    if (string_finished()) return Status::done;
  }
  return Status::again;
}

}  // namespace trivet::mshv::emulator
