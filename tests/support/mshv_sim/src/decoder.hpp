// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "kvm.hpp"

namespace trivet::mshv_sim {

/// One instruction with at most two operands outside the registers, as the simulator must know it to undo it. It knows
/// fewer instructions than the emulator that it tests, and shares nothing with it.
struct Instruction {
  enum class Kind : std::uint8_t { load, store, modify, stos, movs, lods, cmps, scas, ins, outs, in, out };
  enum class Value : std::uint8_t { unknown, gp, immediate, xmm };

  Kind kind{};
  std::uint8_t length = 0;
  std::uint8_t size = 0;        ///< of the operand, in bytes
  bool repeated = false;        ///< a string instruction with REP or REPNE
  std::uint8_t address_bits{};  ///< 16, 32 or 64
  std::uint64_t linear = 0;     ///< memory: the operand; strings: the destination (lods, outs: the source)
  std::uint64_t source = 0;     ///< movs, cmps: the source
  std::uint16_t port = 0;

  Value value = Value::unknown;  ///< what a store writes
  std::uint64_t immediate = 0;   ///< or the register's content
  std::uint8_t xmm = 0;

  [[nodiscard]] bool is_string() const { return (kind >= Kind::stos && kind <= Kind::outs); }
  [[nodiscard]] bool is_port() const { return kind >= Kind::ins; }
};

/// The processor's mode and registers, for addresses.
struct Context {
  const kvm_regs& regs;
  const kvm_sregs& sregs;
};

[[nodiscard]] std::uint64_t gp(const kvm_regs& regs, unsigned index);

/// Nothing for what it does not know, or for bytes that end too early.
[[nodiscard]] std::optional<Instruction> decode(const Context& context, std::uint64_t rip,
                                                std::span<const std::uint8_t> bytes);

}  // namespace trivet::mshv_sim
