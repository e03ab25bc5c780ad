// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The encodings that cases are made of, written by hand from the manual: the generator knows nothing of the decoder
// under test. Source: Intel SDM volume 2, each instruction's opcode table.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace diff {

enum class Width : std::uint8_t { byte, word_up, dword_up, two, four, eight, sixteen, stack };  // word_up: by prefix
enum class Immediate : std::uint8_t { none, byte, full, offset };
enum class Shape : std::uint8_t {
  plain,
  shift_one,
  shift_immediate,
  shift_cl,
  rotate_one,
  rotate_immediate,
  rotate_cl,
  bit_register,
  bit_immediate,
  string,
  port_string,
  port_immediate,
  port_dx,
  compare_exchange,
  load_selector,
  jump,
  sse,
};

struct Form {
  std::string_view name;
  std::uint8_t mandatory;              ///< 66, F2 or F3 as part of the opcode; 0: none
  std::array<std::uint8_t, 3> opcode;  ///< 0F and 0F 38 included
  std::uint8_t opcode_size;
  int digit;  ///< in ModRM; -1: a register; -2: there is no ModRM
  Width width;
  Immediate immediate = Immediate::none;
  Shape shape = Shape::plain;
  bool lockable = false;
  std::uint16_t undefined = 0;  ///< flags left open
  bool only_64bit = false;
  bool byte_register = false;  ///< the register of ModRM is a byte one, and may be AH to BH
  bool not_64bit_operand = false;
};

[[nodiscard]] std::span<const Form> forms();

}  // namespace diff
