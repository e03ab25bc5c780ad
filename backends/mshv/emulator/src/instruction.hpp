// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// An instruction as the execution wants it: the decoder's library is not seen behind this.
#pragma once

#include <array>
#include <cstdint>

namespace trivet::mshv::emulator {

// One family a line.
// clang-format off
enum class Operation : std::uint8_t {
  unsupported,
  mov, movzx, movsx, movbe,
  movs, stos, lods, cmps, scas, ins, outs, in, out,
  add, adc, sub, sbb, and_, or_, xor_, cmp, test,
  not_, neg, inc, dec,
  rol, ror, rcl, rcr, shl, shr, sar, shld, shrd,
  xchg, xadd, cmpxchg, cmpxchg8b,
  bt, bts, btr, btc,
  setcc, cmovcc,
  sse_move,
  push, pop, call, jmp,
};
// clang-format on

/// What an SSE move takes and keeps of its register.
enum class SseMove : std::uint8_t {
  whole,
  whole_aligned,
  low,         ///< clears the rest
  scalar,      ///< the same from memory; between registers it leaves the rest
  merge_low,   ///< leaves the upper half
  merge_high,  ///< is the upper half, and leaves the lower
};

enum class Repeat : std::uint8_t { none, while_equal, while_not_equal };

struct Operand {
  enum class Kind : std::uint8_t { none, gp, high_byte, xmm, segment, memory, immediate };
  Kind kind = Kind::none;
  std::uint8_t index = 0;  ///< of the register
  std::uint8_t bytes = 0;
};

struct Instruction {
  static constexpr std::uint8_t no_register = 0xff;

  Operation operation = Operation::unsupported;
  std::uint8_t length = 0;
  std::uint8_t bytes = 0;          ///< operand size; of one element for string instructions
  std::uint8_t address_bytes = 0;  ///< 2, 4 or 8
  std::uint8_t condition = 0;      ///< the low four bits of SETcc's and CMOVcc's opcode
  SseMove sse = SseMove::whole;
  Repeat repeat = Repeat::none;
  bool lock = false;
  bool relative = false;  ///< the memory operand is relative to the next instruction
  std::uint8_t segment = 3;
  std::uint8_t base = no_register;
  std::uint8_t index = no_register;
  std::uint8_t scale = 0;
  std::array<Operand, 3> operands{};
  std::int64_t displacement = 0;
  std::uint64_t immediate = 0;
};

}  // namespace trivet::mshv::emulator
