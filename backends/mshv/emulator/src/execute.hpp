// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/core/io_handler.hpp>
#include <trivet/mshv/emulator/cpu.hpp>
#include <trivet/mshv/emulator/cpu_state.hpp>

#include "access.hpp"
#include "alu.hpp"
#include "instruction.hpp"

namespace trivet::mshv::emulator {

enum class Status : std::uint8_t { done, again, fault, unsupported, host_failure };

/// One instruction being executed. Everything that can fault comes before everything that shows.
class Execution {
 public:
  Execution(const Instruction& instruction, CpuState& state, Cpu& cpu, IoHandler& io, Access& access,
            std::uint64_t next, std::uint32_t repeat_limit)
      : in_(instruction),
        state_(state),
        cpu_(cpu),
        io_(io),
        access_(access),
        next_(next),
        repeat_limit_(repeat_limit) {}

  /// Changes everything but RIP, which becomes `next` when this is `done`.
  Status run();

  [[nodiscard]] std::uint64_t next() const { return next_; }
  [[nodiscard]] bool interrupt_shadow() const { return interrupt_shadow_; }

 private:
  /// An operand that was checked.
  struct Place {
    const Operand* operand = nullptr;
    Location location{};
  };

  // Operands (execute.cpp).
  [[nodiscard]] std::uint64_t effective_address() const;
  [[nodiscard]] bool find(const Operand& operand, Intent intent, Place& place);
  [[nodiscard]] std::uint64_t load(const Place& place);
  void store(const Place& place, std::uint64_t value);
  [[nodiscard]] bool value_of(const Operand& operand, std::uint64_t& value);
  [[nodiscard]] std::uint64_t gp(unsigned index, unsigned bytes) const { return state_.gp[index] & value_mask(bytes); }
  void set_gp(unsigned index, std::uint64_t value, unsigned bytes);

  /// Reads `destination`, writes what `compute(value, flags)` gives, locked where the instruction is.
  template <class Compute>
  Status modify(const Operand& destination, Compute&& compute) {
    Place place;
    if (!find(destination, Intent::write, place)) return Status::fault;
    while (true) {
      const std::uint64_t before = load(place);
      std::uint64_t flags = state_.rflags;
      const std::uint64_t after = compute(before, flags);
      if (!replace(place, before, after)) continue;
      state_.rflags = flags;
      return Status::done;
    }
  }
  /// False: another processor was quicker.
  [[nodiscard]] bool replace(const Place& place, std::uint64_t before, std::uint64_t after);

  Status move();
  Status move_extended();
  Status move_swapped();
  Status move_conditionally();
  Status set_condition();
  Status exchange();
  Status in_port();
  Status out_port();
  Status load_segment(SegmentIndex index, std::uint16_t selector);  // segment_load.cpp
  bool descriptor_at(std::uint16_t selector, Location& location, std::uint64_t& descriptor);

  Status arithmetic();
  Status compare();
  Status unary();
  Status shift_or_rotate();
  Status exchange_add();
  Status compare_exchange();
  Status compare_exchange_pair();
  Status bit_test();

  Status string();
  Status string_step();
  [[nodiscard]] bool string_finished() const;
  bool source(Location& location);
  bool destination(Intent intent, Location& location);
  void advance(Gp index);
  [[nodiscard]] bool may_use_port(std::uint16_t port, unsigned bytes);  // ports.cpp

  Status sse_move();
  Status sse_load(const Operand& from, unsigned index);
  Status sse_store(const Operand& to, unsigned index);

  Status push();
  Status pop();
  Status call();
  Status jump();
  bool may_jump(std::uint64_t& target);
  bool push_place(unsigned bytes, Location& location, std::uint64_t& pointer);

  const Instruction& in_;
  CpuState& state_;
  Cpu& cpu_;
  IoHandler& io_;
  Access& access_;
  std::uint64_t next_;
  const std::uint32_t repeat_limit_;
  bool interrupt_shadow_ = false;
};

}  // namespace trivet::mshv::emulator
