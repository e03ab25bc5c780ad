// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>

#include "generator.hpp"

namespace diff {
namespace {

constexpr std::uint64_t carry = 1, parity = 4, adjust = 0x10, zero = 0x40, sign = 0x80, trap = 0x100, direction = 0x400,
                        overflow = 0x800, alignment = 0x40000;

}  // namespace

void Generator::choose_sizes() {
  if (form_.width == Width::word_up || form_.width == Width::stack) {
    operand_prefix_ = random_.one_in(4);
  }
  rex_w_ = long64() && !form_.not_64bit_operand && random_.one_in(3);
  if (form_.name == "cmpxchg8b") rex_w_ = false;
  if (form_.name == "cmpxchg16b") rex_w_ = true;
  if (form_.shape == Shape::jump && long64()) operand_prefix_ = false;  // processors differ
  const unsigned normal = is16() ? 2 : 4;
  const unsigned other = is16() ? 4 : 2;
  operand_bytes_ = rex_w_ ? 8 : operand_prefix_ ? other : normal;
  if (form_.width == Width::stack && long64()) operand_bytes_ = operand_prefix_ && !rex_w_ ? 2 : 8;
  switch (form_.width) {
    case Width::byte:
      bytes_ = 1;
      break;
    case Width::two:
      bytes_ = 2;
      break;
    case Width::four:
      bytes_ = 4;
      break;
    case Width::eight:
      bytes_ = 8;
      break;
    case Width::sixteen:
      bytes_ = 16;
      break;
    case Width::dword_up:
      bytes_ = rex_w_ ? 8 : 4;
      break;
    default:
      bytes_ = operand_bytes_;
      break;
  }
  address_prefix_ = random_.one_in(8);
  const unsigned normal_address = long64() ? 8 : is16() ? 2 : 4;
  const unsigned other_address = long64() ? 4 : is16() ? 4 : 2;
  address_bytes_ = address_prefix_ ? other_address : normal_address;
}

void Generator::choose_state() {
  auto& flags = case_.rflags;
  flags = 2;
  for (const auto flag : {carry, parity, adjust, zero, sign, overflow}) flags |= random_.one_in(2) ? flag : 0;
  if (random_.one_in(3)) flags |= direction;
  if (random_.one_in(16)) flags |= trap;
  if (random_.one_in(8)) flags |= alignment;
  if (case_.user && random_.one_in(2)) flags |= 0x3000;
  auto& system = case_.system;
  if (has_paging(case_.mode) && random_.one_in(2)) system.cr0 |= 1U << 16;
  if (case_.uses_xmm && random_.one_in(24)) system.cr0 |= random_.one_in(2) ? 8 : 4;
  if (case_.uses_xmm && random_.one_in(24)) system.cr4 &= ~std::uint64_t{0x200};
}

void Generator::choose_segments() {
  auto& system = case_.system;
  const auto selector = case_.user ? user_data_selector : data_selector;
  if (long64()) {
    system.fs.base = random_.one_in(2) ? window_at : 0xffff'ffff'8000'0000;
    system.gs.base = random_.next() & 0x7fff'ffff'ffff;
  } else if (is16()) {
    case_.spoiled = true;  // 64 KiB
    for (auto* segment : {&system.ds, &system.es, &system.fs, &system.gs}) {
      *segment =
          data_segment(case_.mode == Mode::real16 ? window_at >> 4 : selector, window_at, 0xffff, case_.user, false);
    }
  } else {
    for (auto* segment : {&system.ds, &system.es, &system.fs, &system.gs}) {
      if (!random_.one_in(2)) segment->base = random_.one_in(2) ? window_at : window_at - 0x1000;
      if (address_bytes_ == 2) segment->base = window_at;  // what 16 bits reach
    }
  }
  if (!long64() && random_.one_in(10)) spoil(*std::array{&system.ds, &system.es, &system.fs}[random_.below(3)]);
  system.ss.default_big = true;
}

void Generator::spoil(trivet::Segment& segment) {
  if (case_.mode == Mode::real16) return;
  case_.spoiled = true;
  switch (random_.below(3)) {
    case 0:
      segment.limit = static_cast<std::uint32_t>(0x80000 + 0x3ffe - segment.base) & 0xfffff;
      segment.granularity = false;
      break;
    case 1:
      segment.type = 1;
      break;
    default:
      segment = data_segment(segment.selector, segment.base, 0x20ff, case_.user, true, 7);
      break;
  }
}

void Generator::choose_registers() {
  constexpr std::array<std::uint64_t, 10> edges{0,      1,      0x7f,        0x80,        0xff,
                                                0x7fff, 0x8000, 0x7fff'ffff, 0x8000'0000, ~std::uint64_t{0}};
  for (auto& value : case_.gp) {
    value = random_.one_in(3) ? random_.pick(edges) : random_.next();
    if (random_.one_in(8)) value = random_.below(64);
  }
  case_.gp[4] = stack_at + 0x1000 + 8 * random_.below(16);
  if (random_.one_in(3)) case_.gp[4] += random_.below(8);
  for (auto& value : case_.xmm) {
    for (auto& byte : value) byte = static_cast<std::byte>(random_.next());
  }
  if (form_.shape == Shape::shift_cl || form_.shape == Shape::rotate_cl) {
    case_.gp[1] = (case_.gp[1] & ~std::uint64_t{0xff}) | random_.below(random_.one_in(4) ? 256 : 36);
    if (is_double_shift() && bytes_ == 2) case_.gp[1] &= ~std::uint64_t{0xf0};
  }
  if (!long64()) {
    for (auto& value : case_.gp) value &= 0xffff'ffff;
    std::fill(case_.gp.begin() + 8, case_.gp.end(), 0);
  }
}

std::uint64_t Generator::target(unsigned bytes) {
  constexpr std::array<std::uint64_t, 8> edges{window_at + page,  device_at, device_at + page, device_end,
                                               device_end + page, rom_at,    rom_end,          special_at};
  if (random_.one_in(5) && bytes > 1) {
    const std::uint64_t edge = random_.one_in(4) ? special_at + page * random_.below(8) : random_.pick(edges);
    return edge - random_.below(bytes);
  }
  std::uint64_t start = window_at;
  switch (random_.below(8)) {
    case 0:
    case 1:
    case 2:
      start = window_at + page * random_.below(2);
      break;
    case 3:
      start = rom_at;
      break;
    case 4:
      start = special_at + page * random_.below(8);
      break;
    default:
      start = device_at + page * random_.below(2);
      break;
  }
  std::uint64_t offset = random_.below(page - bytes + 1);
  const bool tidy = bytes == 16 ? !random_.one_in(4) : random_.one_in(2);
  if (tidy) offset &= ~std::uint64_t{bytes - 1U};
  return start + offset;
}

/// The flags that a shift by `count` leaves undefined.
void Generator::leave_open(unsigned count) {
  auto& open = case_.undefined_flags;
  open = form_.undefined;
  const bool shift =
      form_.shape == Shape::shift_one || form_.shape == Shape::shift_immediate || form_.shape == Shape::shift_cl;
  const bool rotate =
      form_.shape == Shape::rotate_one || form_.shape == Shape::rotate_immediate || form_.shape == Shape::rotate_cl;
  if (!shift && !rotate) return;
  if (form_.shape == Shape::shift_one || form_.shape == Shape::rotate_one) count = 1;
  count &= bytes_ == 8 ? 0x3f : 0x1f;
  if (count == 0) return;                           // no flag changes
  if (count != 1) open |= overflow;                 // OF is defined for 1 only
  if (shift) open |= adjust;                        // AF never is
  if (shift && count >= 8 * bytes_) open |= carry;  // SHL, SHR: CF beyond the operand
}

void Generator::finish() {
  if (high_byte_ && rex_ != 0) case_.name = {};  // AH to BH and REX exclude each other: not this one
  assemble();
  if (form_.shape == Shape::jump) {
    case_.planted = Planted{target_, code_at + 0x1900 + 2 * random_.below(0x80)};
    if (long64() && random_.one_in(12)) case_.planted->value |= std::uint64_t{0x8000} << 44;  // not canonical
  }
  if (form_.shape == Shape::load_selector) {
    case_.planted = Planted{target_, random_.pick(selectors) | (random_.one_in(8) ? 3U : 0U)};
  }
  if (form_.shape == Shape::compare_exchange && random_.one_in(2) && bytes_ <= 8) {
    const bool pair = form_.width == Width::eight;
    const std::uint64_t value = pair ? (case_.gp[2] << 32) | (case_.gp[0] & 0xffff'ffff) : case_.gp[0];
    case_.planted = Planted{target_, value};
  }
}

std::vector<std::string_view> form_names() {
  std::vector<std::string_view> names;
  for (const auto& form : forms()) names.push_back(form.name);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Case plain_store(Mode mode, bool user, const trivet::SystemRegisters& fresh) {
  Case test;
  test.name = "mov";
  test.mode = mode;
  test.user = user;
  test.system = system_for(mode, user, fresh);
  if (mode >= Mode::protected16) test.system.ds = data_segment(test.system.ds.selector, window_at, 0xffff, user, false);
  test.code = {0x88, 0x07};  // mov [rdi], al, or mov [bx], al
  test.rip = code_at + 0x100;
  test.gp[3] = 0x123;
  test.gp[4] = stack_at + 0x1000;
  test.gp[7] = window_at + 0x123;
  test.rflags = 0x40cd7 | (user ? 0x3000U : 0U);
  return test;
}

Case generate(std::uint64_t seed, std::string_view only, const trivet::SystemRegisters& fresh) {
  std::vector<const Form*> candidates;
  for (const auto& form : forms()) {
    if (only.empty() || form.name == only) candidates.push_back(&form);
  }
  Random random(seed ^ 0x5851'f42d'4c95'7f2d);
  while (true) {
    auto made = Generator(random.next(), *candidates[random.below(candidates.size())], fresh).make();
    if (made.name.empty() || made.code.size() > 15) continue;
    made.seed = seed;
    return made;
  }
}

}  // namespace diff
