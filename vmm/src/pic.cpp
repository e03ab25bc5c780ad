// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <utility>

#include <trivet/vmm/pic.hpp>

namespace trivet::vmm {
namespace {

constexpr unsigned inputs = 8;
constexpr unsigned none = inputs;
constexpr unsigned spurious = 7;

// ICW1, and what tells it from OCW2 and OCW3 at the command port.
constexpr std::uint8_t icw1_needs_icw4 = 0x01, icw1_single = 0x02, icw1_level = 0x08, icw1 = 0x10;
constexpr std::uint8_t icw2_vector = 0xf8;
constexpr std::uint8_t icw4_auto_eoi = 0x02, icw4_special_fully_nested = 0x10;
// OCW2: what to do in the upper three bits, the level in the lower.
constexpr unsigned ocw2_command_shift = 5;
constexpr std::uint8_t ocw2_level = 0x07;
enum Ocw2 : std::uint8_t {
  rotate_auto_eoi_clear = 0,
  nonspecific_eoi = 1,
  specific_eoi = 3,
  rotate_auto_eoi_set = 4,
  rotate_nonspecific_eoi = 5,
  set_priority = 6,
  rotate_specific_eoi = 7,
};
constexpr std::uint8_t ocw3 = 0x08;
constexpr std::uint8_t ocw3_read_isr = 0x01, ocw3_read = 0x02, ocw3_poll = 0x04, ocw3_special_mask = 0x20,
                       ocw3_special_mask_enable = 0x40;
constexpr std::uint8_t poll_interrupt = 0x80;

// Timer, keyboard, cascade and clock cannot be level-triggered on a PC.
constexpr std::array<std::uint8_t, 2> elcr_exists{0xf8, 0xde};

constexpr std::uint8_t bit(unsigned input) {
  return static_cast<std::uint8_t>(1U << input);
}
void set(std::uint8_t& bits, unsigned input, bool on) {
  bits = static_cast<std::uint8_t>(on ? bits | bit(input) : bits & ~bit(input));
}

}  // namespace

bool Pic::Chip::is_level(unsigned input) const noexcept {
  return level_triggered || (elcr & bit(input)) != 0;
}

void Pic::Chip::set_input(unsigned input, bool asserted) noexcept {
  const bool was = (levels & bit(input)) != 0;
  set(levels, input, asserted);
  // An edge is latched until it is acknowledged, or until the input falls.
  if (!is_level(input) && asserted != was) set(irr, input, asserted);
}

std::uint8_t Pic::Chip::requests() const noexcept {
  std::uint8_t level = level_triggered ? 0xff : elcr;
  return static_cast<std::uint8_t>((irr & ~level) | (levels & level));
}

unsigned Pic::Chip::highest(std::uint8_t set_of) const noexcept {
  for (unsigned i = 1; i <= inputs; ++i) {
    const unsigned input = (lowest + i) % inputs;
    if ((set_of & bit(input)) != 0) return input;
  }
  return none;
}

unsigned Pic::Chip::pending(bool is_master) const noexcept {
  if (icw_expected != 0) return none;
  const auto wanted = static_cast<std::uint8_t>(requests() & ~imr);
  const auto input = highest(wanted);
  if (input == none) return none;
  auto in_service = isr;
  // Special mask: what is masked hinders nobody. Special fully nested: a slave in service may interrupt again.
  if (special_mask) in_service = static_cast<std::uint8_t>(in_service & ~imr);
  if (special_fully_nested && is_master) set(in_service, cascade, false);
  const auto served = highest(in_service);
  if (served == none) return input;
  const auto rank = [this](unsigned of) { return (of + inputs - lowest - 1) % inputs; };
  if (special_mask) return (in_service & bit(input)) == 0 ? input : none;
  return rank(input) < rank(served) ? input : none;
}

void Pic::Chip::begin_service(unsigned input) noexcept {
  if (!is_level(input)) set(irr, input, false);
  if (!auto_eoi) {
    set(isr, input, true);
  } else if (rotate_on_auto_eoi) {
    lowest = static_cast<std::uint8_t>(input);
  }
}

void Pic::Chip::begin_initialization(std::uint8_t value) noexcept {
  const auto kept_elcr = elcr;
  const auto kept_levels = levels;
  *this = Chip{};
  elcr = kept_elcr;
  levels = kept_levels;  // an edge must come anew
  icw_expected = 2;
  icw4_expected = (value & icw1_needs_icw4) != 0;
  single = (value & icw1_single) != 0;
  level_triggered = (value & icw1_level) != 0;
}

void Pic::Chip::write_ocw2(std::uint8_t value) noexcept {
  const auto level = static_cast<std::uint8_t>(value & ocw2_level);
  switch (static_cast<Ocw2>(value >> ocw2_command_shift)) {
    case nonspecific_eoi:
    case rotate_nonspecific_eoi: {
      const auto served = highest(isr);
      if (served == none) return;
      set(isr, served, false);
      if (value >> ocw2_command_shift == rotate_nonspecific_eoi) lowest = static_cast<std::uint8_t>(served);
      return;
    }
    case specific_eoi:
      return set(isr, level, false);
    case rotate_specific_eoi:
      set(isr, level, false);
      lowest = level;
      return;
    case set_priority:
      lowest = level;
      return;
    case rotate_auto_eoi_clear:
      rotate_on_auto_eoi = false;
      return;
    case rotate_auto_eoi_set:
      rotate_on_auto_eoi = true;
      return;
  }
}

void Pic::Chip::write_ocw3(std::uint8_t value) noexcept {
  if ((value & ocw3_poll) != 0) poll = true;
  if ((value & ocw3_read) != 0) read_isr = (value & ocw3_read_isr) != 0;
  if ((value & ocw3_special_mask_enable) != 0) special_mask = (value & ocw3_special_mask) != 0;
}

void Pic::Chip::write_command(std::uint8_t value) noexcept {
  if ((value & icw1) != 0) return begin_initialization(value);
  if ((value & ocw3) != 0) return write_ocw3(value);
  write_ocw2(value);
}

void Pic::Chip::write_data(std::uint8_t value) noexcept {
  switch (icw_expected) {
    case 2:
      vector_base = value & icw2_vector;
      icw_expected = single ? (icw4_expected ? 4 : 0) : 3;
      return;
    case 3:  // which input the slave is on: a PC's wiring says so
      icw_expected = icw4_expected ? 4 : 0;
      return;
    case 4:
      auto_eoi = (value & icw4_auto_eoi) != 0;
      special_fully_nested = (value & icw4_special_fully_nested) != 0;
      icw_expected = 0;
      return;
    default:
      imr = value;
  }
}

Pic::Pic(Output output) : output_(std::move(output)), ports_{{{*this, 0}, {*this, 1}, {*this, 2}}} {
  for (auto& chip : chips_) chip.imr = 0xff;  // as firmware leaves them
}

void Pic::Ports::read(std::uint64_t offset, Bytes data) noexcept {
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = offset + i < size ? std::byte{pic.read_port(which, static_cast<unsigned>(offset + i))} : std::byte{0xff};
  }
}

void Pic::Ports::write(std::uint64_t offset, ConstBytes data) noexcept {
  for (std::size_t i = 0; i < data.size() && offset + i < size; ++i) {
    pic.write_port(which, static_cast<unsigned>(offset + i), std::to_integer<std::uint8_t>(data[i]));
  }
}

std::uint8_t Pic::read_port(unsigned which, unsigned offset) noexcept {
  const std::scoped_lock lock(mutex_);
  if (which == 2) return chips_[offset].elcr;
  auto& chip = chips_[which];
  if (std::exchange(chip.poll, false)) return poll(chip);
  if (offset == 1) return chip.imr;
  return chip.read_isr ? chip.isr : chip.requests();
}

void Pic::write_port(unsigned which, unsigned offset, std::uint8_t value) noexcept {
  const std::scoped_lock lock(mutex_);
  if (which == 2) {
    chips_[offset].elcr = value & elcr_exists[offset];
  } else if (offset == 0) {
    chips_[which].write_command(value);
    // A slave that asks is seen anew, or it would be heard no more.
    if (which == 0 && (value & icw1) != 0) set(chips_[0].levels, cascade, false);
  } else {
    chips_[which].write_data(value);
  }
  update();
}

/// The acknowledge cycle by a read.
std::uint8_t Pic::poll(Chip& chip) noexcept {
  const auto input = chip.pending(&chip == chips_.data());
  if (input == none) return spurious;
  chip.begin_service(input);
  if (&chip == chips_.data() && input == cascade) chip.set_input(cascade, false);
  update();
  return static_cast<std::uint8_t>(poll_interrupt | input);
}

void Pic::set_line(unsigned line, bool asserted) noexcept {
  if (line >= lines || line == cascade) return;
  const std::scoped_lock lock(mutex_);
  chips_[line / inputs].set_input(line % inputs, asserted);
  update();
}

std::optional<std::uint8_t> Pic::acknowledge() noexcept {
  const std::scoped_lock lock(mutex_);
  if (!asserted_) return std::nullopt;
  auto& [master, slave] = chips_;
  const auto input = master.pending(true);  // there is one, or INTR would be low
  master.begin_service(input);
  auto vector = static_cast<std::uint8_t>(master.vector_base | input);
  if (input == cascade) {
    if (!master.single) {
      const auto behind = slave.pending(false);
      slave.begin_service(behind);  // there is one, or the cascade would be low
      vector = static_cast<std::uint8_t>(slave.vector_base | behind);
    }
    // One request is served: a further one of the slave is an edge of its own.
    master.set_input(cascade, false);
  }
  update();
  return vector;
}

void Pic::update() noexcept {
  auto& [master, slave] = chips_;
  master.set_input(cascade, slave.pending(false) != none);
  const bool wanted = master.pending(true) != none;
  if (wanted == asserted_) return;
  asserted_ = wanted;
  if (output_) output_(wanted);
}

PicState Pic::save() const noexcept {
  const std::scoped_lock lock(mutex_);
  return {chips_[0], chips_[1]};
}

Result<void> Pic::restore(const PicState& state) noexcept {
  constexpr auto operation = "restore the PICs";
  const std::array<const PicChipState*, 2> given{&state.master, &state.slave};
  for (std::size_t i = 0; i < given.size(); ++i) {
    const auto& chip = *given[i];
    if ((chip.vector_base & ~icw2_vector) != 0) return Error::malformed(operation, "a vector base is a multiple of 8");
    if (chip.lowest >= inputs) return Error::malformed(operation, "there are eight inputs");
    if (chip.icw_expected > 4 || chip.icw_expected == 1) return Error::malformed(operation, "there are ICW2 to ICW4");
    if ((chip.elcr & ~elcr_exists[i]) != 0) return Error::malformed(operation, "such an input has no level mode");
  }
  const std::scoped_lock lock(mutex_);
  for (std::size_t i = 0; i < given.size(); ++i) static_cast<PicChipState&>(chips_[i]) = *given[i];
  // The cascade follows the slave by level here, so that its request is not lost or made twice.
  set(chips_[0].levels, cascade, (state.master.irr & bit(cascade)) != 0);
  update();
  return {};
}

}  // namespace trivet::vmm
