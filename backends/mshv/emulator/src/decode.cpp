// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "decode.hpp"

#include <Zydis/Zydis.h>
#include <algorithm>
#include <array>

#include "mnemonics.hpp"

namespace trivet::mshv::emulator {
namespace {

const ZydisDecoder& decoder_for(CodeSize size) {
  static const auto decoders = [] {
    std::array<ZydisDecoder, 3> made{};
    ZydisDecoderInit(&made[0], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    ZydisDecoderInit(&made[1], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    ZydisDecoderInit(&made[2], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return made;
  }();
  return decoders[static_cast<unsigned>(size)];
}

Decoded reason(ZyanStatus status) {
  switch (status) {
    case ZYDIS_STATUS_NO_MORE_DATA:
      return Decoded::needs_more;
    case ZYDIS_STATUS_INSTRUCTION_TOO_LONG:
      return Decoded::too_long;
    default:
      return Decoded::invalid;
  }
}

constexpr bool between(ZydisRegister value, ZydisRegister first, ZydisRegister last) {
  return value >= first && value <= last;
}
constexpr std::uint8_t offset(ZydisRegister value, ZydisRegister first) {
  return static_cast<std::uint8_t>(value - first);
}

/// Nothing where it is a register that no supported instruction uses.
Operand register_operand(ZydisRegister value) {
  using Kind = Operand::Kind;
  if (between(value, ZYDIS_REGISTER_AL, ZYDIS_REGISTER_BL)) return {Kind::gp, offset(value, ZYDIS_REGISTER_AL), 1};
  if (between(value, ZYDIS_REGISTER_AH, ZYDIS_REGISTER_BH)) {
    return {Kind::high_byte, offset(value, ZYDIS_REGISTER_AH), 1};
  }
  if (between(value, ZYDIS_REGISTER_SPL, ZYDIS_REGISTER_R15B)) {
    return {Kind::gp, static_cast<std::uint8_t>(offset(value, ZYDIS_REGISTER_SPL) + 4), 1};
  }
  if (between(value, ZYDIS_REGISTER_AX, ZYDIS_REGISTER_R15W)) return {Kind::gp, offset(value, ZYDIS_REGISTER_AX), 2};
  if (between(value, ZYDIS_REGISTER_EAX, ZYDIS_REGISTER_R15D)) return {Kind::gp, offset(value, ZYDIS_REGISTER_EAX), 4};
  if (between(value, ZYDIS_REGISTER_RAX, ZYDIS_REGISTER_R15)) return {Kind::gp, offset(value, ZYDIS_REGISTER_RAX), 8};
  if (between(value, ZYDIS_REGISTER_XMM0, ZYDIS_REGISTER_XMM15)) {
    return {Kind::xmm, offset(value, ZYDIS_REGISTER_XMM0), 16};
  }
  if (between(value, ZYDIS_REGISTER_ES, ZYDIS_REGISTER_GS)) return {Kind::segment, offset(value, ZYDIS_REGISTER_ES), 2};
  return {};
}

constexpr bool is_stack_register(std::uint8_t index) {
  return index == 4 || index == 5;
}

std::uint8_t address_register(ZydisRegister value) {
  const auto found = register_operand(value);
  return found.kind == Operand::Kind::gp ? found.index : Instruction::no_register;
}

Operand memory_operand(const ZydisDecodedOperandMem& memory, Instruction& to) {
  to.relative = memory.base == ZYDIS_REGISTER_RIP || memory.base == ZYDIS_REGISTER_EIP;
  to.base = to.relative ? Instruction::no_register : address_register(memory.base);
  to.index = address_register(memory.index);
  to.scale = memory.scale;
  to.displacement = memory.disp.has_displacement ? memory.disp.value : 0;
  if (to.base != Instruction::no_register && is_stack_register(to.base)) to.segment = 2;
  return {Operand::Kind::memory, 0, 0};
}

bool convert(const ZydisDecodedOperand& from, Instruction& to, Operand& operand) {
  switch (from.type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
      operand = register_operand(from.reg.value);
      return operand.kind != Operand::Kind::none;
    case ZYDIS_OPERAND_TYPE_MEMORY:
      if (from.mem.type != ZYDIS_MEMOP_TYPE_MEM) return false;
      operand = memory_operand(from.mem, to);
      operand.bytes = static_cast<std::uint8_t>(from.size / 8);
      return from.size <= 128;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
      to.immediate = from.imm.value.u;
      operand = {Operand::Kind::immediate, 0, static_cast<std::uint8_t>(from.size / 8)};
      return true;
    default:
      return false;
  }
}

/// In the order they stand: the last of a group counts, as on the processor.
void apply_prefixes(const ZydisDecodedInstruction& from, CodeSize size, bool string, Instruction& to) {
  const bool bits64 = size == CodeSize::bits64;
  for (std::size_t i = 0; i < from.raw.prefix_count; ++i) {
    switch (from.raw.prefixes[i].value) {
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
        if (!bits64) to.segment = static_cast<std::uint8_t>((from.raw.prefixes[i].value - 0x26) / 8);
        break;
      case 0x64:
      case 0x65:
        to.segment = static_cast<std::uint8_t>(from.raw.prefixes[i].value - 0x60);
        break;
      case 0xf0:
        to.lock = true;
        break;
      case 0xf2:
        if (string) to.repeat = Repeat::while_not_equal;
        break;
      case 0xf3:
        if (string) to.repeat = Repeat::while_equal;
        break;
      default:
        break;
    }
  }
}

constexpr bool is_string(Operation operation) {
  return operation >= Operation::movs && operation <= Operation::outs;
}

/// Opcodes that exist to have none.
constexpr bool is_undefined(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_UD0 || mnemonic == ZYDIS_MNEMONIC_UD1 || mnemonic == ZYDIS_MNEMONIC_UD2;
}

const Known* find_known(const ZydisDecodedInstruction& from) {
  const auto place = known_by_mnemonic[from.mnemonic];
  if (place == not_known || from.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return nullptr;
  if (from.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return nullptr;
  const bool string = from.meta.category == ZYDIS_CATEGORY_STRINGOP || from.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
  const Known& found = known[place];
  if (from.mnemonic == ZYDIS_MNEMONIC_MOVSD && !string) return &sse_movsd;
  if (is_string(found.operation) && !string) return nullptr;  // CMPSD is SSE's, too
  return &found;
}

bool has_memory(const Instruction& instruction) {
  return std::any_of(instruction.operands.begin(), instruction.operands.end(),
                     [](const Operand& operand) { return operand.kind == Operand::Kind::memory; });
}

void convert_operands(const ZydisDecoderContext& context, const ZydisDecodedInstruction& from,
                      const ZydisDecoder& decoder, Instruction& to) {
  std::array<ZydisDecodedOperand, 3> operands;
  const auto count = from.operand_count_visible;
  if (count == 0 || count > operands.size() ||
      !ZYAN_SUCCESS(ZydisDecoderDecodeOperands(&decoder, &context, &from, operands.data(), count))) {
    to.operation = Operation::unsupported;
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (!convert(operands[i], to, to.operands[i])) to.operation = Operation::unsupported;
  }
  // What is pushed or jumped to is as wide as the operand size says, whatever holds it.
  const bool by_width = to.operation >= Operation::push && to.operation <= Operation::jmp;
  if (to.bytes == 0) to.bytes = static_cast<std::uint8_t>((by_width ? from.operand_width : operands[0].size) / 8);
}

}  // namespace

Decoded decode(CodeSize size, ConstBytes bytes, Instruction& instruction) {
  const auto& decoder = decoder_for(size);
  ZydisDecoderContext context;
  ZydisDecodedInstruction found;
  const auto status = ZydisDecoderDecodeInstruction(&decoder, &context, bytes.data(), bytes.size(), &found);
  if (!ZYAN_SUCCESS(status)) return reason(status);

  instruction = {};
  instruction.length = found.length;
  instruction.address_bytes = static_cast<std::uint8_t>(found.address_width / 8);
  if (is_undefined(found.mnemonic)) return Decoded::invalid;
  const auto* const entry = find_known(found);
  if (entry == nullptr) return Decoded::yes;
  instruction.operation = entry->operation;
  instruction.bytes = entry->bytes;
  instruction.sse = entry->sse;
  instruction.condition = found.opcode & 0xf;
  const bool string = is_string(entry->operation);
  if (!string) convert_operands(context, found, decoder, instruction);
  apply_prefixes(found, size, string, instruction);
  if (instruction.lock && !has_memory(instruction)) return Decoded::invalid;
  return Decoded::yes;
}

std::vector<std::string_view> known_mnemonics() {
  std::vector<std::string_view> names;
  for (const auto& entry : known) names.emplace_back(ZydisMnemonicGetString(entry.mnemonic));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace trivet::mshv::emulator
