// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Which of the decoder's mnemonics are executed, and how.
#pragma once

#include <Zydis/Zydis.h>
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "instruction.hpp"

namespace trivet::mshv::emulator {

struct Known {
  ZydisMnemonic mnemonic;
  Operation operation;
  std::uint8_t bytes = 0;  ///< of what is moved, where the operands do not say it
  SseMove sse = SseMove::whole;
};

#define TRIVET_CONDITIONAL(prefix, operation)                                              \
  {ZYDIS_MNEMONIC_##prefix##O, operation}, {ZYDIS_MNEMONIC_##prefix##NO, operation},       \
      {ZYDIS_MNEMONIC_##prefix##B, operation}, {ZYDIS_MNEMONIC_##prefix##NB, operation},   \
      {ZYDIS_MNEMONIC_##prefix##Z, operation}, {ZYDIS_MNEMONIC_##prefix##NZ, operation},   \
      {ZYDIS_MNEMONIC_##prefix##BE, operation}, {ZYDIS_MNEMONIC_##prefix##NBE, operation}, \
      {ZYDIS_MNEMONIC_##prefix##S, operation}, {ZYDIS_MNEMONIC_##prefix##NS, operation},   \
      {ZYDIS_MNEMONIC_##prefix##P, operation}, {ZYDIS_MNEMONIC_##prefix##NP, operation},   \
      {ZYDIS_MNEMONIC_##prefix##L, operation}, {ZYDIS_MNEMONIC_##prefix##NL, operation},   \
      {ZYDIS_MNEMONIC_##prefix##LE, operation}, {                                          \
    ZYDIS_MNEMONIC_##prefix##NLE, operation                                                \
  }

inline constexpr std::array known{std::to_array<Known>({
    {ZYDIS_MNEMONIC_MOV, Operation::mov},
    {ZYDIS_MNEMONIC_MOVNTI, Operation::mov},
    {ZYDIS_MNEMONIC_MOVZX, Operation::movzx},
    {ZYDIS_MNEMONIC_MOVSX, Operation::movsx},
    {ZYDIS_MNEMONIC_MOVSXD, Operation::movsx},
    {ZYDIS_MNEMONIC_MOVBE, Operation::movbe},
    {ZYDIS_MNEMONIC_MOVSB, Operation::movs, 1},
    {ZYDIS_MNEMONIC_MOVSW, Operation::movs, 2},
    {ZYDIS_MNEMONIC_MOVSD, Operation::movs, 4},  // or SSE's: see sse_movsd
    {ZYDIS_MNEMONIC_MOVSQ, Operation::movs, 8},
    {ZYDIS_MNEMONIC_STOSB, Operation::stos, 1},
    {ZYDIS_MNEMONIC_STOSW, Operation::stos, 2},
    {ZYDIS_MNEMONIC_STOSD, Operation::stos, 4},
    {ZYDIS_MNEMONIC_STOSQ, Operation::stos, 8},
    {ZYDIS_MNEMONIC_LODSB, Operation::lods, 1},
    {ZYDIS_MNEMONIC_LODSW, Operation::lods, 2},
    {ZYDIS_MNEMONIC_LODSD, Operation::lods, 4},
    {ZYDIS_MNEMONIC_LODSQ, Operation::lods, 8},
    {ZYDIS_MNEMONIC_CMPSB, Operation::cmps, 1},
    {ZYDIS_MNEMONIC_CMPSW, Operation::cmps, 2},
    {ZYDIS_MNEMONIC_CMPSD, Operation::cmps, 4},
    {ZYDIS_MNEMONIC_CMPSQ, Operation::cmps, 8},
    {ZYDIS_MNEMONIC_SCASB, Operation::scas, 1},
    {ZYDIS_MNEMONIC_SCASW, Operation::scas, 2},
    {ZYDIS_MNEMONIC_SCASD, Operation::scas, 4},
    {ZYDIS_MNEMONIC_SCASQ, Operation::scas, 8},
    {ZYDIS_MNEMONIC_INSB, Operation::ins, 1},
    {ZYDIS_MNEMONIC_INSW, Operation::ins, 2},
    {ZYDIS_MNEMONIC_INSD, Operation::ins, 4},
    {ZYDIS_MNEMONIC_OUTSB, Operation::outs, 1},
    {ZYDIS_MNEMONIC_OUTSW, Operation::outs, 2},
    {ZYDIS_MNEMONIC_OUTSD, Operation::outs, 4},
    {ZYDIS_MNEMONIC_IN, Operation::in},
    {ZYDIS_MNEMONIC_OUT, Operation::out},
    {ZYDIS_MNEMONIC_ADD, Operation::add},
    {ZYDIS_MNEMONIC_ADC, Operation::adc},
    {ZYDIS_MNEMONIC_SUB, Operation::sub},
    {ZYDIS_MNEMONIC_SBB, Operation::sbb},
    {ZYDIS_MNEMONIC_AND, Operation::and_},
    {ZYDIS_MNEMONIC_OR, Operation::or_},
    {ZYDIS_MNEMONIC_XOR, Operation::xor_},
    {ZYDIS_MNEMONIC_CMP, Operation::cmp},
    {ZYDIS_MNEMONIC_TEST, Operation::test},
    {ZYDIS_MNEMONIC_NOT, Operation::not_},
    {ZYDIS_MNEMONIC_NEG, Operation::neg},
    {ZYDIS_MNEMONIC_INC, Operation::inc},
    {ZYDIS_MNEMONIC_DEC, Operation::dec},
    {ZYDIS_MNEMONIC_ROL, Operation::rol},
    {ZYDIS_MNEMONIC_ROR, Operation::ror},
    {ZYDIS_MNEMONIC_RCL, Operation::rcl},
    {ZYDIS_MNEMONIC_RCR, Operation::rcr},
    {ZYDIS_MNEMONIC_SHL, Operation::shl},
    {ZYDIS_MNEMONIC_SHR, Operation::shr},
    {ZYDIS_MNEMONIC_SAR, Operation::sar},
    {ZYDIS_MNEMONIC_SHLD, Operation::shld},
    {ZYDIS_MNEMONIC_SHRD, Operation::shrd},
    {ZYDIS_MNEMONIC_XCHG, Operation::xchg},
    {ZYDIS_MNEMONIC_XADD, Operation::xadd},
    {ZYDIS_MNEMONIC_CMPXCHG, Operation::cmpxchg},
    {ZYDIS_MNEMONIC_CMPXCHG8B, Operation::cmpxchg8b, 8},
    {ZYDIS_MNEMONIC_CMPXCHG16B, Operation::cmpxchg8b, 16},
    {ZYDIS_MNEMONIC_BT, Operation::bt},
    {ZYDIS_MNEMONIC_BTS, Operation::bts},
    {ZYDIS_MNEMONIC_BTR, Operation::btr},
    {ZYDIS_MNEMONIC_BTC, Operation::btc},
    TRIVET_CONDITIONAL(SET, Operation::setcc),
    TRIVET_CONDITIONAL(CMOV, Operation::cmovcc),
    {ZYDIS_MNEMONIC_MOVAPS, Operation::sse_move, 16, SseMove::whole_aligned},
    {ZYDIS_MNEMONIC_MOVAPD, Operation::sse_move, 16, SseMove::whole_aligned},
    {ZYDIS_MNEMONIC_MOVDQA, Operation::sse_move, 16, SseMove::whole_aligned},
    {ZYDIS_MNEMONIC_MOVNTPS, Operation::sse_move, 16, SseMove::whole_aligned},
    {ZYDIS_MNEMONIC_MOVNTPD, Operation::sse_move, 16, SseMove::whole_aligned},
    {ZYDIS_MNEMONIC_MOVNTDQ, Operation::sse_move, 16, SseMove::whole_aligned},
    {ZYDIS_MNEMONIC_MOVNTDQA, Operation::sse_move, 16, SseMove::whole_aligned},
    {ZYDIS_MNEMONIC_MOVUPS, Operation::sse_move, 16},
    {ZYDIS_MNEMONIC_MOVUPD, Operation::sse_move, 16},
    {ZYDIS_MNEMONIC_MOVDQU, Operation::sse_move, 16},
    {ZYDIS_MNEMONIC_LDDQU, Operation::sse_move, 16},
    {ZYDIS_MNEMONIC_MOVD, Operation::sse_move, 4, SseMove::low},
    {ZYDIS_MNEMONIC_MOVQ, Operation::sse_move, 8, SseMove::low},
    {ZYDIS_MNEMONIC_MOVSS, Operation::sse_move, 4, SseMove::scalar},
    {ZYDIS_MNEMONIC_MOVLPS, Operation::sse_move, 8, SseMove::merge_low},
    {ZYDIS_MNEMONIC_MOVLPD, Operation::sse_move, 8, SseMove::merge_low},
    {ZYDIS_MNEMONIC_MOVHPS, Operation::sse_move, 8, SseMove::merge_high},
    {ZYDIS_MNEMONIC_MOVHPD, Operation::sse_move, 8, SseMove::merge_high},
    {ZYDIS_MNEMONIC_PUSH, Operation::push},
    {ZYDIS_MNEMONIC_POP, Operation::pop},
    {ZYDIS_MNEMONIC_CALL, Operation::call},
    {ZYDIS_MNEMONIC_JMP, Operation::jmp},
})};
#undef TRIVET_CONDITIONAL

/// MOVSD is a string move and an SSE move.
inline constexpr Known sse_movsd{ZYDIS_MNEMONIC_MOVSD, Operation::sse_move, 8, SseMove::scalar};

inline constexpr std::uint8_t not_known = 0xff;
static_assert(known.size() < not_known);

/// By mnemonic: the place in `known`.
inline constexpr auto known_by_mnemonic = [] {
  std::array<std::uint8_t, ZYDIS_MNEMONIC_MAX_VALUE + 1> places{};
  std::fill(places.begin(), places.end(), not_known);
  for (std::size_t i = 0; i < known.size(); ++i) places[known[i].mnemonic] = static_cast<std::uint8_t>(i);
  return places;
}();

}  // namespace trivet::mshv::emulator
