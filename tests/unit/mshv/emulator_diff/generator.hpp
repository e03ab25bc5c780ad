// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// How a case is made: choices in generate.cpp, bytes in encode.cpp.
#pragma once

#include <utility>
#include <vector>

#include "case.hpp"
#include "forms.hpp"

namespace diff {

inline std::uint64_t mask_of(unsigned bytes) {
  return bytes >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * bytes) - 1;
}

/// Makes one case: chooses, encodes, and sets the registers so that the operand lies where it should.
class Generator {
 public:
  Generator(std::uint64_t seed, const Form& form, const trivet::SystemRegisters& fresh)
      : random_(seed * 0x2545'f491'4f6c'dd1d + 1), form_(form) {
    random_.next();
    case_.seed = seed;
    case_.name = form.name;
    case_.mode = form.only_64bit ? Mode::long64 : random_.one_in(2) ? Mode::long64 : random_.pick(all_modes);
    case_.user = case_.mode != Mode::real16 && random_.one_in(5);
    case_.system = system_for(case_.mode, case_.user, fresh);
    case_.uses_xmm = form.shape == Shape::sse;
    case_.modifies = form.lockable || (form.shape >= Shape::shift_one && form.shape <= Shape::rotate_cl);
  }

  Case make() {
    choose_sizes();
    choose_state();
    choose_segments();
    choose_registers();
    encode();
    finish();
    return std::move(case_);
  }

 private:
  [[nodiscard]] bool long64() const { return case_.mode == Mode::long64; }
  [[nodiscard]] bool is_double_shift() const { return form_.name == "shld" || form_.name == "shrd"; }
  [[nodiscard]] bool is16() const { return case_.mode >= Mode::protected16; }

  void choose_sizes();

  void choose_state();

  void choose_segments();

  /// A segment that stops some accesses.
  void spoil(trivet::Segment& segment);

  void choose_registers();

  /// A linear address for an operand of `bytes`; often at an edge.
  std::uint64_t target(unsigned bytes);

  [[nodiscard]] const trivet::Segment& segment(unsigned index) const {
    const auto& system = case_.system;
    const std::array all{&system.es, &system.cs, &system.ss, &system.ds, &system.fs, &system.gs};
    return *all[index];
  }
  [[nodiscard]] std::uint64_t segment_base(unsigned index) const {
    return long64() && index < 4 ? 0 : segment(index).base;
  }

  void encode();
  void encode_memory(std::uint64_t linear);
  void encode_memory16(std::uint64_t offset);
  void encode_memory_wide(std::uint64_t offset);
  void choose_register_operand();
  void set_strings();
  void emit(std::uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) tail_.push_back(static_cast<std::uint8_t>(value >> 8 * i));
  }
  bool taken(unsigned index) const { return index == 4 || (fixed_registers_ >> index & 1) != 0; }
  unsigned free_register(unsigned but) {
    while (true) {
      const auto index = static_cast<unsigned>(random_.below(long64() ? 16 : 8));
      if (!taken(index) && index != but) return index;
    }
  }
  void assemble();
  void finish();
  void leave_open(unsigned count);

  Random random_;
  const Form& form_;
  Case case_;
  bool operand_prefix_ = false;
  bool address_prefix_ = false;
  bool rex_w_ = false;
  unsigned operand_bytes_ = 4;
  unsigned bytes_ = 4;  // of the memory operand
  unsigned address_bytes_ = 8;
  unsigned fixed_registers_ = 0;  // may not become part of an address
  unsigned register_ = 0;
  bool high_byte_ = false;
  unsigned segment_ = 3;
  int segment_prefix_ = -1;
  std::uint8_t repeat_prefix_ = 0;
  bool lock_ = false;
  std::uint8_t rex_ = 0;
  std::vector<std::uint8_t> tail_;  // from ModRM on
  int relative_at_ = -1;            // in tail_: a displacement from the next instruction
  std::uint64_t target_ = 0;
};

}  // namespace diff
