// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>

#include "generator.hpp"

namespace diff {

void Generator::choose_register_operand() {
  if (form_.digit >= 0) {
    register_ = static_cast<unsigned>(form_.digit);
    return;
  }
  register_ = static_cast<unsigned>(random_.below(long64() ? 16 : 8));
  high_byte_ = form_.byte_register && register_ >= 4 && register_ < 8 && !rex_w_ && random_.one_in(2);
  if (form_.byte_register && !long64() && register_ >= 4) high_byte_ = true;
  if (form_.shape == Shape::bit_register) {
    while (register_ == 4) register_ = static_cast<unsigned>(random_.below(long64() ? 16 : 8));
    const auto offset = static_cast<std::int64_t>(random_.below(1200)) - 600;
    case_.gp[register_] = static_cast<std::uint64_t>(offset) & (long64() ? ~std::uint64_t{0} : 0xffff'ffff);
    fixed_registers_ |= 1U << register_;
  }
  if (register_ == 4 && !high_byte_ && !case_.uses_xmm) register_ = 5;  // the stack must stay one
}

void Generator::encode_memory16(std::uint64_t offset) {
  struct Pair {
    int first, second;
  };
  constexpr std::array<Pair, 8> pairs{{{3, 6}, {3, 7}, {5, 6}, {5, 7}, {6, -1}, {7, -1}, {5, -1}, {3, -1}}};
  const auto modrm = [&](unsigned mod, unsigned rm) {
    tail_.push_back(static_cast<std::uint8_t>(mod << 6 | (register_ & 7) << 3 | rm));
  };
  const auto rm = static_cast<unsigned>(random_.below(8));
  const auto& pair = pairs[rm];
  const auto fixed = [&](int index) { return index >= 0 && taken(static_cast<unsigned>(index)); };
  if (random_.one_in(6) || fixed(pair.first) || fixed(pair.second)) {
    modrm(0, 6);
    emit(offset, 2);
    return;
  }
  const unsigned mod = rm == 6 ? 1 + static_cast<unsigned>(random_.below(2)) : static_cast<unsigned>(random_.below(3));
  std::uint64_t displacement = mod == 0 ? 0 : random_.next() & (mod == 1 ? 0xff : 0xffff);
  modrm(mod, rm);
  if (mod != 0) emit(displacement, mod);
  if (mod == 1 && displacement >= 0x80) displacement += 0xff00;
  std::uint64_t rest = offset - displacement;
  if (pair.second >= 0) rest -= case_.gp[static_cast<unsigned>(pair.second)];
  auto& base = case_.gp[static_cast<unsigned>(pair.first)];
  base = (base & ~std::uint64_t{0xffff}) | (rest & 0xffff);
}

void Generator::encode_memory_wide(std::uint64_t offset) {
  const auto modrm = [&](unsigned mod, unsigned rm) {
    tail_.push_back(static_cast<std::uint8_t>(mod << 6 | (register_ & 7) << 3 | (rm & 7)));
  };
  const auto kind = random_.below(8);
  if (kind == 0) {  // nothing but a displacement
    if (long64() && random_.one_in(2) && segment_prefix_ < 0) {
      modrm(0, 5);
      relative_at_ = static_cast<int>(tail_.size());
      target_ = offset;
      emit(0, 4);
      return;
    }
    const bool fits =
        static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(offset))) == offset;
    if (!long64() || fits) {
      modrm(0, long64() ? 4 : 5);
      if (long64()) tail_.push_back(0x25);
      emit(offset, 4);
      return;
    }
  }
  const bool indexed = kind >= 5;
  const unsigned base = free_register(16);
  const unsigned index = indexed ? free_register(base) : 16;
  const auto scale = static_cast<unsigned>(random_.below(4));
  unsigned mod = static_cast<unsigned>(random_.below(3));
  if (mod == 0 && (base & 7) == 5) mod = 1;
  std::uint64_t displacement = 0;
  if (mod == 1)
    displacement = static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int8_t>(random_.next())));
  if (mod == 2)
    displacement = static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(random_.next())));
  rex_ |= static_cast<std::uint8_t>((base >= 8 ? 1 : 0) | (indexed && index >= 8 ? 2 : 0));
  const bool needs_sib = indexed || (base & 7) == 4;
  modrm(mod, needs_sib ? 4 : base);
  if (needs_sib) {
    const unsigned index_bits = indexed ? index & 7 : 4;
    tail_.push_back(static_cast<std::uint8_t>(scale << 6 | index_bits << 3 | (base & 7)));
  }
  if (mod != 0) emit(displacement, mod == 1 ? 1 : 4);
  std::uint64_t rest = offset - displacement;
  if (indexed) rest -= case_.gp[index] << scale;
  if (form_.name == "pop" && base == 4) rest -= operand_bytes_;
  const std::uint64_t mask = mask_of(address_bytes_);
  const std::uint64_t noise = long64() ? random_.next() & ~mask : 0;
  case_.gp[base] = (rest & mask) | noise;
}

void Generator::encode_memory(std::uint64_t linear) {
  segment_ = random_.one_in(4) ? static_cast<unsigned>(random_.below(6)) : 3;
  if (segment_ == 1 || segment_ == 2) segment_ = 3;
  // An override in any case where the base may be BP, whose own segment is the stack's.
  const bool wants_prefix = segment_ != 3 || !long64() || random_.one_in(12);
  if (wants_prefix) {
    constexpr std::array<std::uint8_t, 6> prefixes{0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    segment_prefix_ = prefixes[segment_];
  }
  const std::uint64_t offset = linear - segment_base(segment_);
  if (address_bytes_ == 2) return encode_memory16(offset & 0xffff);
  encode_memory_wide(offset & (long64() ? ~std::uint64_t{0} : 0xffff'ffff));
}

void Generator::set_strings() {
  const std::uint64_t mask = mask_of(address_bytes_);
  const auto place = [&](unsigned index, unsigned segment) {
    const std::uint64_t offset = target(bytes_) - segment_base(segment);
    case_.gp[index] = (case_.gp[index] & ~mask) | (offset & mask);
    if (!long64()) case_.gp[index] &= 0xffff'ffff;
  };
  if (random_.one_in(4)) {
    segment_ = random_.one_in(2) ? 4 : 0;
    segment_prefix_ = segment_ == 4 ? 0x64 : 0x26;
  }
  place(6, segment_);
  place(7, 0);
  if (form_.shape == Shape::port_string)
    case_.gp[2] = (case_.gp[2] & ~std::uint64_t{0xffff}) | (open_port + random_.below(10));
  if (!random_.one_in(3)) {
    repeat_prefix_ = random_.one_in(2) ? 0xf2 : 0xf3;
    case_.gp[1] = (case_.gp[1] & ~mask) | (random_.below(random_.one_in(4) ? 40 : 6));
    if (!long64()) case_.gp[1] &= 0xffff'ffff;
  }
}

void Generator::encode() {
  target_ = target(bytes_);
  const bool ports = form_.shape == Shape::port_dx || form_.shape == Shape::port_immediate;
  if (form_.shape == Shape::string || form_.shape == Shape::port_string) {
    set_strings();
  } else if (ports) {
    if (form_.shape == Shape::port_dx)
      case_.gp[2] = (case_.gp[2] & ~std::uint64_t{0xffff}) | (open_port + random_.below(10));
    if (form_.shape == Shape::port_immediate) emit(open_port + random_.below(10), 1);
  } else if (form_.immediate == Immediate::offset) {
    if (random_.one_in(2)) segment_ = 4, segment_prefix_ = 0x64;
    emit(target_ - segment_base(segment_), address_bytes_);
  } else {
    if (form_.shape == Shape::shift_cl || form_.shape == Shape::rotate_cl) fixed_registers_ |= 2;
    choose_register_operand();
    if (form_.shape == Shape::compare_exchange && random_.one_in(2)) fixed_registers_ |= 5;
    encode_memory(target_);
    if (register_ >= 8) rex_ |= 4;
    unsigned count = static_cast<unsigned>(case_.gp[1]);
    if (form_.immediate == Immediate::byte) {
      std::uint64_t value = random_.one_in(4) ? random_.next() & 0xff : random_.below(36);
      if (is_double_shift() && bytes_ == 2) value &= 0xf;  // beyond that the result itself is undefined
      count = static_cast<unsigned>(value);
      emit(value, 1);
    }
    if (form_.immediate == Immediate::full)
      emit(random_.one_in(3) ? random_.below(300) : random_.next(), std::min(operand_bytes_, 4U));
    leave_open(count);
  }
  if (form_.lockable && random_.one_in(4)) lock_ = true;
}

void Generator::assemble() {
  std::vector<std::uint8_t> prefixes;
  if (operand_prefix_) prefixes.push_back(0x66);
  if (address_prefix_) prefixes.push_back(0x67);
  if (segment_prefix_ >= 0) prefixes.push_back(static_cast<std::uint8_t>(segment_prefix_));
  if (lock_) prefixes.push_back(0xf0);
  if (repeat_prefix_ != 0) prefixes.push_back(repeat_prefix_);
  for (std::size_t i = prefixes.size(); i > 1; --i) std::swap(prefixes[i - 1], prefixes[random_.below(i)]);
  auto& code = case_.code;
  code = prefixes;
  if (form_.mandatory != 0) code.push_back(form_.mandatory);
  if (rex_w_) rex_ |= 8;
  const bool byte_needs_rex = form_.byte_register && register_ >= 4 && register_ < 8 && !high_byte_;
  if (long64() && !high_byte_ && (rex_ != 0 || byte_needs_rex || random_.one_in(8))) {
    code.push_back(static_cast<std::uint8_t>(0x40 | rex_));
  }
  code.insert(code.end(), form_.opcode.begin(), form_.opcode.begin() + form_.opcode_size);
  const std::size_t tail_at = code.size();
  code.insert(code.end(), tail_.begin(), tail_.end());
  case_.rip = code_at + 0x100 + random_.below(0x800);
  if (random_.one_in(8)) case_.rip = code_at + page - 1 - random_.below(code.size());
  if (relative_at_ >= 0) {
    const std::uint64_t displacement = target_ - (case_.rip + code.size());
    for (unsigned i = 0; i < 4; ++i) {
      code[tail_at + static_cast<unsigned>(relative_at_) + i] = static_cast<std::uint8_t>(displacement >> 8 * i);
    }
  }
}

}  // namespace diff
