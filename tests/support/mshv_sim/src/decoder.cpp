// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "decoder.hpp"

#include <algorithm>

namespace trivet::mshv_sim {

std::uint64_t gp(const kvm_regs& regs, unsigned index) {
  const std::array<std::uint64_t, 16> all{regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp,
                                          regs.rsi, regs.rdi, regs.r8,  regs.r9,  regs.r10, regs.r11,
                                          regs.r12, regs.r13, regs.r14, regs.r15};
  return all[index & 15];
}

namespace {

using Kind = Instruction::Kind;
using Value = Instruction::Value;

/// What follows the opcode, and what the instruction does with its memory operand.
struct Form {
  Kind kind = Kind::load;
  std::uint8_t size = 0;       ///< 0: operand size
  std::uint8_t immediate = 0;  ///< bytes; `by_size`: as the operand, at most 4
  Value value = Value::unknown;
  bool high_bytes = false;  ///< a byte register may be AH-BH
};
constexpr std::uint8_t by_size = 0xff;

class Decoder {
 public:
  Decoder(const Context& context, std::uint64_t rip, std::span<const std::uint8_t> bytes)
      : regs_(context.regs), sregs_(context.sregs), rip_(rip), bytes_(bytes) {
    const bool long_mode = (sregs_.efer & (1U << 10)) != 0 && sregs_.cs.l != 0;
    bits_ = long_mode ? 64 : sregs_.cs.db != 0 && (sregs_.cr0 & 1) != 0 && (regs_.rflags & (1U << 17)) == 0 ? 32 : 16;
  }

  std::optional<Instruction> run() {
    prefixes();
    std::uint8_t opcode = 0;
    if (!take(opcode)) return std::nullopt;
    operand_ = rex_w_ ? 8 : operand_override_ != (bits_ == 16) ? 2 : 4;
    address_ = bits_ == 64 ? (address_override_ ? 32 : 64) : (address_override_ != (bits_ == 16) ? 16 : 32);
    result_.address_bits = static_cast<std::uint8_t>(address_);
    const bool good = opcode == 0x0f ? two_byte() : one_byte(opcode);
    if (!good || at_ > 15) return std::nullopt;
    result_.length = static_cast<std::uint8_t>(at_);
    // RIP-relative is from the instruction's end.
    if (rip_relative_) result_.linear += rip_ + at_;
    return result_;
  }

 private:
  bool take(std::uint8_t& byte) {
    if (at_ >= bytes_.size()) return false;
    byte = bytes_[at_++];
    return true;
  }
  bool take(std::size_t count, std::uint64_t& value) {
    if (count > bytes_.size() - at_) return false;
    value = 0;
    for (std::size_t i = 0; i < count; ++i) value |= std::uint64_t{bytes_[at_ + i]} << (8 * i);
    at_ += count;
    return true;
  }
  bool take_signed(std::size_t count, std::uint64_t& value) {
    if (!take(count, value)) return false;
    if (count == 0 || count == 8) return true;
    const unsigned shift = 64 - 8 * static_cast<unsigned>(count);
    value = static_cast<std::uint64_t>(static_cast<std::int64_t>(value << shift) >> shift);
    return true;
  }

  void prefixes() {
    for (; at_ < bytes_.size() && at_ < 14; ++at_) {
      const auto byte = bytes_[at_];
      if (byte == 0x66)
        operand_override_ = true;
      else if (byte == 0x67)
        address_override_ = true;
      else if (byte == 0xf2 || byte == 0xf3)
        repeat_ = byte;
      else if (byte == 0x2e || byte == 0x36 || byte == 0x3e || byte == 0x26 || byte == 0x64 || byte == 0x65)
        segment_ = byte;
      else if (byte != 0xf0)
        break;
    }
    if (bits_ != 64 || at_ >= bytes_.size() || (bytes_[at_] & 0xf0) != 0x40) return;
    const auto rex = bytes_[at_++];
    rex_ = true;
    rex_w_ = (rex & 8) != 0;
    rex_r_ = (rex & 4) != 0 ? 8U : 0U;
    rex_x_ = (rex & 2) != 0 ? 8U : 0U;
    rex_b_ = (rex & 1) != 0 ? 8U : 0U;
  }

  std::uint64_t segment_base(char by_default) const {
    const auto base_of = [&](const kvm_segment& segment, bool always) {
      return bits_ == 64 && !always ? 0 : segment.base;
    };
    switch (segment_) {
      case 0x64:
        return base_of(sregs_.fs, true);
      case 0x65:
        return base_of(sregs_.gs, true);
      case 0x2e:
        return base_of(sregs_.cs, false);
      case 0x36:
        return base_of(sregs_.ss, false);
      case 0x3e:
        return base_of(sregs_.ds, false);
      case 0x26:
        return base_of(sregs_.es, false);
      default:
        return base_of(by_default == 's' ? sregs_.ss : sregs_.ds, false);
    }
  }
  std::uint64_t masked(std::uint64_t offset) const {
    return address_ == 64 ? offset : offset & ((1ULL << address_) - 1);
  }
  std::uint64_t linear(std::uint64_t offset, char segment) const {
    const auto value = segment_base(segment) + masked(offset);
    return bits_ == 64 ? value : value & 0xffffffff;
  }
  std::uint64_t at_es(std::uint64_t offset) const {
    const auto value = (bits_ == 64 ? 0 : sregs_.es.base) + masked(offset);
    return bits_ == 64 ? value : value & 0xffffffff;
  }

  /// ModRM, SIB and displacement; false for a register operand.
  bool memory_operand() {
    std::uint8_t modrm = 0;
    if (!take(modrm)) return false;
    reg_ = (modrm >> 3 & 7U) | rex_r_;
    const unsigned mod = modrm >> 6, rm = modrm & 7U;
    if (mod == 3) return false;
    return address_ == 16 ? operand_16(mod, rm) : operand_32(mod, rm);
  }
  bool operand_16(unsigned mod, unsigned rm) {
    static constexpr std::array<std::array<int, 2>, 8> parts{
        {{3, 6}, {3, 7}, {5, 6}, {5, 7}, {6, -1}, {7, -1}, {5, -1}, {3, -1}}};
    std::uint64_t offset = 0, displacement = 0;
    const bool absolute = mod == 0 && rm == 6;
    if (!absolute) {
      for (const int part : parts[rm])
        if (part >= 0) offset += gp(regs_, static_cast<unsigned>(part));
    }
    if (!take_signed(absolute || mod == 2 ? 2 : mod, displacement)) return false;
    const bool stack = !absolute && (rm == 2 || rm == 3 || rm == 6);
    result_.linear = linear(offset + displacement, stack ? 's' : 'd');
    return true;
  }
  bool operand_32(unsigned mod, unsigned rm) {
    std::uint64_t offset = 0, displacement = 0;
    char segment = 'd';
    bool no_base = false;
    if (rm == 4) {
      std::uint8_t sib = 0;
      if (!take(sib)) return false;
      const unsigned index = (sib >> 3 & 7U) | rex_x_, base = sib & 7U;
      no_base = base == 5 && mod == 0;
      if (index != 4) offset += gp(regs_, index) << (sib >> 6);
      if (!no_base) {
        offset += gp(regs_, base | rex_b_);
        if (rex_b_ == 0 && (base == 4 || base == 5)) segment = 's';
      }
    } else if (rm == 5 && mod == 0) {
      no_base = true;
      rip_relative_ = bits_ == 64;
    } else {
      offset += gp(regs_, rm | rex_b_);
      if (rm == 5 && rex_b_ == 0) segment = 's';
    }
    if (!take_signed(mod == 1 ? 1 : mod == 2 || no_base ? 4 : 0, displacement)) return false;
    result_.linear = linear(offset + displacement, segment);
    return true;
  }

  std::uint64_t register_value(unsigned index, unsigned size, bool bytes_may_be_high) const {
    if (size == 1 && bytes_may_be_high && !rex_ && index >= 4 && index < 8) return gp(regs_, index - 4) >> 8 & 0xff;
    return gp(regs_, index);
  }

  /// An instruction with a memory operand of that form.
  bool finish(const Form& form) {
    result_.kind = form.kind;
    result_.size = form.size != 0 ? form.size : static_cast<std::uint8_t>(operand_);
    result_.value = form.value;
    if (form.value == Value::gp) result_.immediate = register_value(reg_, result_.size, form.high_bytes);
    if (form.value == Value::xmm) result_.xmm = static_cast<std::uint8_t>(reg_);
    std::uint64_t immediate = 0;
    const auto count = form.immediate == by_size ? std::min<std::size_t>(operand_, 4) : form.immediate;
    if (!take_signed(count, immediate)) return false;
    if (form.value == Value::immediate) result_.immediate = immediate;
    return true;
  }
  bool memory(const Form& form) { return memory_operand() && finish(form); }

  bool strings(std::uint8_t opcode) {
    const auto size = static_cast<std::uint8_t>((opcode & 1) == 0 ? 1 : std::min(operand_, is_ports(opcode) ? 4U : 8U));
    result_.size = size;
    result_.repeated = repeat_ != 0;
    const auto to = at_es(regs_.rdi), from = linear(regs_.rsi, 'd');
    result_.linear = to;
    switch (opcode & 0xfe) {
      case 0x6c:
        result_.kind = Kind::ins;
        break;
      case 0x6e:
        result_.kind = Kind::outs, result_.linear = from;
        break;
      case 0xa4:
        result_.kind = Kind::movs, result_.source = from;
        break;
      case 0xa6:
        result_.kind = Kind::cmps, result_.source = from;
        break;
      case 0xaa:
        result_.kind = Kind::stos, result_.value = Value::gp, result_.immediate = regs_.rax;
        break;
      case 0xac:
        result_.kind = Kind::lods, result_.linear = from;
        break;
      case 0xae:
        result_.kind = Kind::scas;
        break;
      default:
        return false;
    }
    if (is_ports(opcode)) result_.port = static_cast<std::uint16_t>(regs_.rdx);
    return true;
  }
  static bool is_ports(std::uint8_t opcode) { return opcode >= 0x6c && opcode <= 0x6f; }

  bool ports(std::uint8_t opcode) {
    result_.size = static_cast<std::uint8_t>((opcode & 1) == 0 ? 1 : std::min(operand_, 4U));
    result_.kind = (opcode & 2) == 0 ? Kind::in : Kind::out;
    result_.value = Value::gp;
    result_.immediate = regs_.rax;
    result_.port = static_cast<std::uint16_t>(regs_.rdx);
    if ((opcode & 8) != 0) return true;
    std::uint8_t port = 0;
    if (!take(port)) return false;
    result_.port = port;
    return true;
  }

  bool offsets(std::uint8_t opcode) {
    std::uint64_t offset = 0;
    if (!take(address_ / 8, offset)) return false;
    result_.linear = linear(offset, 'd');
    reg_ = 0;
    return finish({(opcode & 2) == 0 ? Kind::load : Kind::store, static_cast<std::uint8_t>((opcode & 1) == 0 ? 1 : 0),
                   0, Value::gp});
  }

  bool one_byte(std::uint8_t opcode) {
    const auto byte = static_cast<std::uint8_t>((opcode & 1) == 0 ? 1 : 0);
    if (opcode < 0x40 && (opcode & 7) < 4) {
      const bool to_memory = (opcode & 2) == 0 && (opcode & 0x38) != 0x38;
      return memory({to_memory ? Kind::modify : Kind::load, byte});
    }
    switch (opcode) {
      case 0x63:
        return bits_ == 64 && memory({Kind::load, 4});
      case 0x69:
        return memory({Kind::load, 0, by_size});
      case 0x6b:
        return memory({Kind::load, 0, 1});
      case 0x6c:
      case 0x6d:
      case 0x6e:
      case 0x6f:
      case 0xa4:
      case 0xa5:
      case 0xa6:
      case 0xa7:
      case 0xaa:
      case 0xab:
      case 0xac:
      case 0xad:
      case 0xae:
      case 0xaf:
        return strings(opcode);
      case 0x80:
      case 0x81:
      case 0x83:
        return group1(opcode);
      case 0x84:
      case 0x85:
      case 0x8a:
      case 0x8b:
        return memory({Kind::load, byte});
      case 0x86:
      case 0x87:
        return memory({Kind::modify, byte});
      case 0x88:
      case 0x89:
        return memory({Kind::store, byte, 0, Value::gp, true});
      case 0x8c:
        return memory({Kind::store, 2});
      case 0x8e:
        return memory({Kind::load, 2});
      case 0xa0:
      case 0xa1:
      case 0xa2:
      case 0xa3:
        return offsets(opcode);
      case 0xc0:
      case 0xc1:
        return memory({Kind::modify, byte, 1});
      case 0xd0:
      case 0xd1:
      case 0xd2:
      case 0xd3:
        return memory({Kind::modify, byte});
      case 0xc6:
        return memory({Kind::store, byte, 1, Value::immediate});
      case 0xc7:
        return memory({Kind::store, byte, by_size, Value::immediate});
      case 0xe4:
      case 0xe5:
      case 0xe6:
      case 0xe7:
      case 0xec:
      case 0xed:
      case 0xee:
      case 0xef:
        return ports(opcode);
      case 0xf6:
      case 0xf7:
        return group3(opcode);
      case 0xfe:
      case 0xff:
        return memory_operand() && (reg_ & 7) < 2 && finish({Kind::modify, byte});
      default:
        return false;
    }
  }
  bool group1(std::uint8_t opcode) {
    if (!memory_operand()) return false;
    const auto byte = static_cast<std::uint8_t>((opcode & 1) == 0 ? 1 : 0);
    return finish({(reg_ & 7) == 7 ? Kind::load : Kind::modify, byte, opcode == 0x81 ? by_size : std::uint8_t{1}});
  }
  bool group3(std::uint8_t opcode) {
    if (!memory_operand()) return false;
    const auto byte = static_cast<std::uint8_t>((opcode & 1) == 0 ? 1 : 0);
    const unsigned which = reg_ & 7;
    if (which < 2) return finish({Kind::load, byte, byte == 1 ? std::uint8_t{1} : by_size});
    return finish({which < 4 ? Kind::modify : Kind::load, byte});
  }

  std::uint8_t scalar(std::uint8_t packed, std::uint8_t f3, std::uint8_t f2) const {
    return repeat_ == 0xf3 ? f3 : repeat_ == 0xf2 ? f2 : packed;
  }
  bool two_byte() {
    std::uint8_t opcode = 0;
    if (!take(opcode)) return false;
    if (opcode == 0x38) return three_byte();
    const auto byte = static_cast<std::uint8_t>((opcode & 1) == 0 ? 1 : 0);
    const auto word = static_cast<std::uint8_t>(rex_w_ ? 8 : 4);
    if (opcode >= 0x40 && opcode < 0x50) return memory({Kind::load});
    if (opcode >= 0x90 && opcode < 0xa0) return memory({Kind::store, 1});
    switch (opcode) {
      case 0x10:
        return memory({Kind::load, scalar(16, 4, 8)});
      case 0x11:
        return memory({Kind::store, scalar(16, 4, 8), 0, Value::xmm});
      case 0x12:
      case 0x16:
        return memory({Kind::load, 8});
      case 0x13:
        return memory({Kind::store, 8, 0, Value::xmm});
      case 0x17:
        return memory({Kind::store, 8});
      case 0x28:
        return memory({Kind::load, 16});
      case 0x29:
      case 0x2b:
        return memory({Kind::store, 16, 0, Value::xmm});
      case 0x6e:
        return memory({Kind::load, word});
      case 0x6f:
        return (operand_override_ || repeat_ == 0xf3) && memory({Kind::load, 16});
      case 0x7e:
        return repeat_ == 0xf3 ? memory({Kind::load, 8}) : memory({Kind::store, word, 0, Value::xmm});
      case 0x7f:
        return (operand_override_ || repeat_ == 0xf3) && memory({Kind::store, 16, 0, Value::xmm});
      case 0xd6:
        return memory({Kind::store, 8, 0, Value::xmm});
      case 0xe7:
        return operand_override_ && memory({Kind::store, 16, 0, Value::xmm});
      case 0xf0:
        return repeat_ == 0xf2 && memory({Kind::load, 16});
      case 0xa3:
      case 0xab:
      case 0xb3:
      case 0xbb:
        return bits(opcode);
      case 0xba:
        return memory_operand() && finish({(reg_ & 7) == 4 ? Kind::load : Kind::modify, 0, 1});
      case 0xa4:
      case 0xac:
        return memory({Kind::modify, 0, 1});
      case 0xa5:
      case 0xad:
        return memory({Kind::modify});
      case 0xaf:
        return memory({Kind::load});
      case 0xb0:
      case 0xb1:
      case 0xc0:
      case 0xc1:
        return memory({Kind::modify, byte});
      case 0xb6:
      case 0xbe:
        return memory({Kind::load, 1});
      case 0xb7:
      case 0xbf:
        return memory({Kind::load, 2});
      case 0xc3:
        return memory({Kind::store, word, 0, Value::gp});
      case 0xc7:
        return memory_operand() && (reg_ & 7) == 1 &&
               finish({Kind::modify, static_cast<std::uint8_t>(rex_w_ ? 16 : 8)});
      default:
        return false;
    }
  }
  /// The bit number in a register also moves the address.
  bool bits(std::uint8_t opcode) {
    if (!memory_operand() || !finish({opcode == 0xa3 ? Kind::load : Kind::modify})) return false;
    auto number = gp(regs_, reg_);
    const unsigned shift = 64 - 8 * operand_;
    const auto distance = static_cast<std::int64_t>(number << shift) >> shift;
    const auto unit = static_cast<std::int64_t>(8 * operand_);
    const auto steps = distance >= 0 ? distance / unit : -((unit - 1 - distance) / unit);
    result_.linear += static_cast<std::uint64_t>(steps * static_cast<std::int64_t>(operand_));
    return true;
  }
  bool three_byte() {
    std::uint8_t opcode = 0;
    if (!take(opcode)) return false;
    if (opcode == 0x2a) return operand_override_ && memory({Kind::load, 16});
    if (opcode == 0xf0 && repeat_ == 0) return memory({Kind::load});
    if (opcode == 0xf1 && repeat_ == 0) return memory({Kind::store});  // MOVBE: the bytes come swapped
    return false;
  }

  const kvm_regs& regs_;
  const kvm_sregs& sregs_;
  const std::uint64_t rip_;
  const std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
  unsigned bits_ = 64, operand_ = 4, address_ = 64;
  bool operand_override_ = false, address_override_ = false, rex_ = false, rex_w_ = false, rip_relative_ = false;
  unsigned rex_r_ = 0, rex_x_ = 0, rex_b_ = 0, reg_ = 0;
  std::uint8_t repeat_ = 0, segment_ = 0;
  Instruction result_;
};

}  // namespace

std::optional<Instruction> decode(const Context& context, std::uint64_t rip, std::span<const std::uint8_t> bytes) {
  return Decoder(context, rip, bytes).run();
}

}  // namespace trivet::mshv_sim
