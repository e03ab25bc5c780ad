// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "forms.hpp"

#include <vector>

namespace diff {
namespace {

constexpr std::uint16_t pf = 4, af = 0x10, sf = 0x80, of = 0x800;
constexpr int reg = -1, bare = -2;

using Forms = std::vector<Form>;

Form one(std::string_view name, std::uint8_t opcode, int digit, Width width) {
  return {name, 0, {opcode, 0, 0}, 1, digit, width};
}
Form two(std::string_view name, std::uint8_t opcode, int digit, Width width) {
  return {name, 0, {0x0f, opcode, 0}, 2, digit, width};
}
Form sse(std::string_view name, std::uint8_t mandatory, std::uint8_t opcode, Width width) {
  Form form{name, mandatory, {0x0f, opcode, 0}, 2, reg, width};
  form.shape = Shape::sse;
  return form;
}
Form with(Form form, Immediate immediate) {
  return form.immediate = immediate, form;
}
Form with(Form form, Shape shape) {
  return form.shape = shape, form;
}
Form lockable(Form form) {
  return form.lockable = true, form;
}
Form leaving(Form form, unsigned undefined) {
  return form.undefined = static_cast<std::uint16_t>(undefined), form;
}
Form bytes(Form form) {
  return form.byte_register = true, form;
}

void add_arithmetic(Forms& forms) {
  constexpr std::array<std::string_view, 8> names{"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"};
  for (unsigned i = 0; i < 8; ++i) {
    const auto base = static_cast<std::uint8_t>(8 * i);
    const bool logic = i == 1 || i == 4 || i == 6;
    const auto finish = [&](Form form, bool to_memory) {
      form.lockable = to_memory && i != 7;
      return leaving(form, logic ? af : 0);  // AND, OR, XOR: AF undefined
    };
    const auto digit = static_cast<int>(i);
    const auto opcode = [&](unsigned more) { return static_cast<std::uint8_t>(base + more); };
    forms.push_back(finish(bytes(one(names[i], opcode(0), reg, Width::byte)), true));
    forms.push_back(finish(one(names[i], opcode(1), reg, Width::word_up), true));
    forms.push_back(finish(bytes(one(names[i], opcode(2), reg, Width::byte)), false));
    forms.push_back(finish(one(names[i], opcode(3), reg, Width::word_up), false));
    forms.push_back(finish(with(one(names[i], 0x80, digit, Width::byte), Immediate::byte), true));
    forms.push_back(finish(with(one(names[i], 0x81, digit, Width::word_up), Immediate::full), true));
    forms.push_back(finish(with(one(names[i], 0x83, digit, Width::word_up), Immediate::byte), true));
  }
  forms.push_back(leaving(bytes(one("test", 0x84, reg, Width::byte)), af));
  forms.push_back(leaving(one("test", 0x85, reg, Width::word_up), af));
  forms.push_back(leaving(with(one("test", 0xf6, 0, Width::byte), Immediate::byte), af));
  forms.push_back(leaving(with(one("test", 0xf7, 0, Width::word_up), Immediate::full), af));
  forms.push_back(lockable(one("not", 0xf6, 2, Width::byte)));
  forms.push_back(lockable(one("not", 0xf7, 2, Width::word_up)));
  forms.push_back(lockable(one("neg", 0xf6, 3, Width::byte)));
  forms.push_back(lockable(one("neg", 0xf7, 3, Width::word_up)));
  forms.push_back(lockable(one("inc", 0xfe, 0, Width::byte)));
  forms.push_back(lockable(one("inc", 0xff, 0, Width::word_up)));
  forms.push_back(lockable(one("dec", 0xfe, 1, Width::byte)));
  forms.push_back(lockable(one("dec", 0xff, 1, Width::word_up)));
}

void add_moves(Forms& forms) {
  forms.push_back(bytes(one("mov", 0x88, reg, Width::byte)));
  forms.push_back(one("mov", 0x89, reg, Width::word_up));
  forms.push_back(bytes(one("mov", 0x8a, reg, Width::byte)));
  forms.push_back(one("mov", 0x8b, reg, Width::word_up));
  forms.push_back(with(one("mov", 0xc6, 0, Width::byte), Immediate::byte));
  forms.push_back(with(one("mov", 0xc7, 0, Width::word_up), Immediate::full));
  forms.push_back(with(one("mov moffs", 0xa0, bare, Width::byte), Immediate::offset));
  forms.push_back(with(one("mov moffs", 0xa1, bare, Width::word_up), Immediate::offset));
  forms.push_back(with(one("mov moffs", 0xa2, bare, Width::byte), Immediate::offset));
  forms.push_back(with(one("mov moffs", 0xa3, bare, Width::word_up), Immediate::offset));
  for (int segment = 0; segment < 6; ++segment) forms.push_back(one("mov from sreg", 0x8c, segment, Width::two));
  for (const int segment : {0, 2, 3, 4, 5}) {
    forms.push_back(with(one("mov to sreg", 0x8e, segment, Width::two), Shape::load_selector));
  }
  forms.push_back(two("movzx", 0xb6, reg, Width::byte));
  forms.push_back(two("movzx", 0xb7, reg, Width::two));
  forms.push_back(two("movsx", 0xbe, reg, Width::byte));
  forms.push_back(two("movsx", 0xbf, reg, Width::two));
  Form extended = one("movsxd", 0x63, reg, Width::four);
  extended.only_64bit = true;
  forms.push_back(extended);
  forms.push_back({"movbe", 0, {0x0f, 0x38, 0xf0}, 3, reg, Width::word_up});
  forms.push_back({"movbe", 0, {0x0f, 0x38, 0xf1}, 3, reg, Width::word_up});
  forms.push_back(two("movnti", 0xc3, reg, Width::dword_up));
  forms.push_back(lockable(bytes(one("xchg", 0x86, reg, Width::byte))));
  forms.push_back(lockable(one("xchg", 0x87, reg, Width::word_up)));
  forms.push_back(lockable(bytes(two("xadd", 0xc0, reg, Width::byte))));
  forms.push_back(lockable(two("xadd", 0xc1, reg, Width::word_up)));
  forms.push_back(with(lockable(bytes(two("cmpxchg", 0xb0, reg, Width::byte))), Shape::compare_exchange));
  forms.push_back(with(lockable(two("cmpxchg", 0xb1, reg, Width::word_up)), Shape::compare_exchange));
  forms.push_back(with(lockable(two("cmpxchg8b", 0xc7, 1, Width::eight)), Shape::compare_exchange));
  forms.push_back(with(lockable(two("cmpxchg16b", 0xc7, 1, Width::sixteen)), Shape::compare_exchange));
  for (unsigned condition = 0; condition < 16; ++condition) {
    forms.push_back(two("setcc", static_cast<std::uint8_t>(0x90 + condition), 0, Width::byte));
    forms.push_back(two("cmovcc", static_cast<std::uint8_t>(0x40 + condition), reg, Width::word_up));
  }
}

void add_shifts(Forms& forms) {
  constexpr std::array<std::string_view, 8> names{"rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"};
  for (int i = 0; i < 8; ++i) {
    const bool rotate = i < 4;
    const auto name = names[static_cast<unsigned>(i)];
    const auto add = [&](std::uint8_t opcode, Shape shape, Immediate immediate) {
      forms.push_back(with(with(one(name, opcode, i, Width::byte), immediate), shape));
      const auto wider = static_cast<std::uint8_t>(opcode + 1);
      forms.push_back(with(with(one(name, wider, i, Width::word_up), immediate), shape));
    };
    add(0xc0, rotate ? Shape::rotate_immediate : Shape::shift_immediate, Immediate::byte);
    add(0xd0, rotate ? Shape::rotate_one : Shape::shift_one, Immediate::none);
    add(0xd2, rotate ? Shape::rotate_cl : Shape::shift_cl, Immediate::none);
  }
  forms.push_back(with(with(two("shld", 0xa4, reg, Width::word_up), Immediate::byte), Shape::shift_immediate));
  forms.push_back(with(two("shld", 0xa5, reg, Width::word_up), Shape::shift_cl));
  forms.push_back(with(with(two("shrd", 0xac, reg, Width::word_up), Immediate::byte), Shape::shift_immediate));
  forms.push_back(with(two("shrd", 0xad, reg, Width::word_up), Shape::shift_cl));
}

void add_bits(Forms& forms) {
  constexpr std::array<std::string_view, 4> names{"bt", "bts", "btr", "btc"};
  constexpr unsigned open = of | sf | af | pf;  // only CF is defined, and ZF stays
  for (int i = 0; i < 4; ++i) {
    const auto opcode = static_cast<std::uint8_t>(0xa3 + 8 * i);
    auto by_register = with(two(names[static_cast<unsigned>(i)], opcode, reg, Width::word_up), Shape::bit_register);
    auto by_number = with(two(names[static_cast<unsigned>(i)], 0xba, 4 + i, Width::word_up), Shape::bit_immediate);
    by_register.lockable = by_number.lockable = i != 0;
    forms.push_back(leaving(by_register, open));
    forms.push_back(leaving(with(by_number, Immediate::byte), open));
  }
}

void add_strings(Forms& forms) {
  const auto add = [&](std::string_view name, std::uint8_t opcode, Shape shape) {
    forms.push_back(with(one(name, opcode, bare, Width::byte), shape));
    auto wider = with(one(name, static_cast<std::uint8_t>(opcode + 1), bare, Width::word_up), shape);
    wider.not_64bit_operand = shape == Shape::port_string;
    forms.push_back(wider);
  };
  add("movs", 0xa4, Shape::string);
  add("cmps", 0xa6, Shape::string);
  add("stos", 0xaa, Shape::string);
  add("lods", 0xac, Shape::string);
  add("scas", 0xae, Shape::string);
  add("ins", 0x6c, Shape::port_string);
  add("outs", 0x6e, Shape::port_string);
  const auto port = [&](std::string_view name, std::uint8_t opcode, Shape shape) {
    const auto immediate = shape == Shape::port_immediate ? Immediate::byte : Immediate::none;
    auto narrow = with(with(one(name, opcode, bare, Width::byte), shape), immediate);
    auto wider = with(with(one(name, static_cast<std::uint8_t>(opcode + 1), bare, Width::word_up), shape), immediate);
    wider.not_64bit_operand = true;
    forms.push_back(narrow);
    forms.push_back(wider);
  };
  port("in", 0xe4, Shape::port_immediate);
  port("out", 0xe6, Shape::port_immediate);
  port("in", 0xec, Shape::port_dx);
  port("out", 0xee, Shape::port_dx);
}

void add_sse(Forms& forms) {
  for (const unsigned store : {0U, 1U}) {
    const auto opcode = [&](unsigned load) { return static_cast<std::uint8_t>(load + store); };
    forms.push_back(sse("movups", 0, opcode(0x10), Width::sixteen));
    forms.push_back(sse("movupd", 0x66, opcode(0x10), Width::sixteen));
    forms.push_back(sse("movss", 0xf3, opcode(0x10), Width::four));
    forms.push_back(sse("movsd", 0xf2, opcode(0x10), Width::eight));
    forms.push_back(sse("movaps", 0, opcode(0x28), Width::sixteen));
    forms.push_back(sse("movapd", 0x66, opcode(0x28), Width::sixteen));
    forms.push_back(sse("movlps", 0, opcode(0x12), Width::eight));
    forms.push_back(sse("movlpd", 0x66, opcode(0x12), Width::eight));
    forms.push_back(sse("movhps", 0, opcode(0x16), Width::eight));
    forms.push_back(sse("movhpd", 0x66, opcode(0x16), Width::eight));
    const unsigned far = 0x6fU + 0x10U * store;
    forms.push_back(sse("movdqa", 0x66, static_cast<std::uint8_t>(far), Width::sixteen));
    forms.push_back(sse("movdqu", 0xf3, static_cast<std::uint8_t>(far), Width::sixteen));
    forms.push_back(sse("movd/movq", 0x66, static_cast<std::uint8_t>(far - 1U), Width::dword_up));
  }
  forms.push_back(sse("movq", 0xf3, 0x7e, Width::eight));
  forms.push_back(sse("movq", 0x66, 0xd6, Width::eight));
  forms.push_back(sse("movntps", 0, 0x2b, Width::sixteen));
  forms.push_back(sse("movntpd", 0x66, 0x2b, Width::sixteen));
  forms.push_back(sse("movntdq", 0x66, 0xe7, Width::sixteen));
  forms.push_back(sse("lddqu", 0xf2, 0xf0, Width::sixteen));
  Form streaming{"movntdqa", 0x66, {0x0f, 0x38, 0x2a}, 3, reg, Width::sixteen};
  streaming.shape = Shape::sse;
  forms.push_back(streaming);
}

Forms make() {
  Forms forms;
  add_arithmetic(forms);
  add_moves(forms);
  add_shifts(forms);
  add_bits(forms);
  add_strings(forms);
  add_sse(forms);
  forms.push_back(one("push", 0xff, 6, Width::stack));
  forms.push_back(one("pop", 0x8f, 0, Width::stack));
  forms.push_back(with(one("call", 0xff, 2, Width::stack), Shape::jump));
  forms.push_back(with(one("jmp", 0xff, 4, Width::stack), Shape::jump));
  return forms;
}

}  // namespace

std::span<const Form> forms() {
  static const Forms made = make();
  return made;
}

}  // namespace diff
