// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <utility>

#include <trivet/vmm/pit.hpp>

namespace trivet::vmm {
namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;
constexpr unsigned control_offset = 3;
// Control word: counter, access, mode, BCD. Counter 3 is the read-back command, access 0 the latch command.
constexpr unsigned select_shift = 6, access_shift = 4, mode_shift = 1;
constexpr std::uint8_t access_mask = 3, mode_mask = 7, bcd_bit = 1, read_back = 3, access_low = 1, access_high = 2;
constexpr std::uint8_t no_count = 0x20, no_status = 0x10;
constexpr unsigned status_output_shift = 7, status_null_shift = 6;
// Port 0x61.
constexpr std::uint8_t gate_bit = 0x01, speaker_bit = 0x02, refresh_bit = 0x10, output_bit = 0x20;
constexpr std::uint64_t refresh_ns = 15'085;

std::uint64_t to_clocks(std::uint64_t ns) {
  return ns / second_ns * Pit::frequency_hz + ns % second_ns * Pit::frequency_hz / second_ns;
}
/// When that many clocks are over.
std::uint64_t to_ns(std::uint64_t clocks) {
  constexpr auto hz = Pit::frequency_hz;
  return clocks / hz * second_ns + (clocks % hz * second_ns + hz - 1) / hz;
}

std::uint64_t from_bcd(std::uint16_t value) {
  std::uint64_t result = 0;
  for (int shift = 12; shift >= 0; shift -= 4) result = result * 10 + (value >> shift & 0xfU);
  return result;
}
std::uint16_t to_bcd(std::uint64_t value) {
  unsigned result = 0;
  for (int shift = 0; shift < 16; shift += 4, value /= 10) result |= static_cast<unsigned>(value % 10) << shift;
  return static_cast<std::uint16_t>(result);
}

}  // namespace

std::uint64_t Pit::Counter::elapsed(std::uint64_t now_ns) const noexcept {
  return elapsed_ns + (counting && now_ns > since_ns ? now_ns - since_ns : 0);
}
std::uint64_t Pit::Counter::clocks(std::uint64_t now_ns) const noexcept {
  return to_clocks(elapsed(now_ns));
}

std::uint64_t Pit::Counter::span() const noexcept {
  const std::uint64_t value = bcd ? from_bcd(reload) : reload;
  if (value != 0) return value;
  return bcd ? 10'000 : 0x1'0000;
}

std::uint16_t Pit::Counter::count(std::uint64_t now_ns) const noexcept {
  if (!loaded) return reload;
  const std::uint64_t wrap = bcd ? 10'000 : 0x1'0000;
  const auto passed = clocks(now_ns);
  std::uint64_t left = 0;
  if (mode == 2) {
    left = span() - passed % span();
  } else if (mode == 3) {  // by twos, twice in a period
    left = span() - 2 * passed % span();
    left -= left % 2;
  } else {
    left = (span() + wrap - passed % wrap) % wrap;
  }
  left %= wrap;
  return bcd ? to_bcd(left) : static_cast<std::uint16_t>(left);
}

bool Pit::Counter::output(std::uint64_t now_ns) const noexcept {
  if (!loaded) return mode != 0;
  const auto passed = clocks(now_ns);
  switch (mode) {
    case 0:
      return passed >= span();
    case 1:  // high until triggered
      return (!counting && elapsed_ns == 0) || passed >= span();
    case 2:
      return !gate || span() == 1 || passed % span() != span() - 1;
    case 3:
      return !gate || passed % span() < (span() + 1) / 2;
    default:
      return passed != span();
  }
}

std::optional<std::uint64_t> Pit::Counter::rise_after(std::uint64_t passed) const noexcept {
  if (!loaded || !counting) return std::nullopt;
  if (periodic()) return (passed / span() + 1) * span();
  // A strobe is low for the clock at its end.
  const auto once = span() + (mode >= 4 ? 1 : 0);
  return passed < once ? std::optional(once) : std::nullopt;
}

void Pit::Counter::start(std::uint64_t now_ns) noexcept {
  counting = true;
  since_ns = now_ns;
}
void Pit::Counter::stop(std::uint64_t now_ns) noexcept {
  elapsed_ns = elapsed(now_ns);
  counting = false;
}

void Pit::Counter::control(std::uint8_t word) noexcept {
  const auto kept_gate = gate;
  const auto kept_reload = reload;
  *this = Counter{};
  gate = kept_gate;
  reload = kept_reload;
  access = word >> access_shift & access_mask;
  mode = word >> mode_shift & mode_mask;
  if (mode > 5) mode -= 4;  // 6 and 7 are 2 and 3
  bcd = (word & bcd_bit) != 0;
}

void Pit::Counter::load(std::uint16_t value, std::uint64_t now_ns) noexcept {
  reload = value;
  loaded = true;
  elapsed_ns = 0;
  counting = false;
  // These wait for a trigger.
  if (mode != 1 && mode != 5 && gate) start(now_ns);
}

void Pit::Counter::set_gate(bool open, std::uint64_t now_ns) noexcept {
  if (open == gate) return;
  gate = open;
  if (!loaded) return;
  const bool triggered = mode == 1 || mode == 5;
  if (!open) {
    if (!triggered) stop(now_ns);
    return;
  }
  if (triggered || periodic()) elapsed_ns = 0;
  start(now_ns);
}

void Pit::Counter::latch(bool count_too, bool status_too, std::uint64_t now_ns) noexcept {
  if (count_too && !latched_count) latched_count = count(now_ns);
  if (!status_too || latched_status) return;
  latched_status = static_cast<std::uint8_t>(
      (output(now_ns) ? 1U : 0U) << status_output_shift | (loaded ? 0U : 1U) << status_null_shift |
      unsigned{access} << access_shift | unsigned{mode} << mode_shift | (bcd ? 1U : 0U));
}

std::uint8_t Pit::Counter::read(std::uint64_t now_ns) noexcept {
  if (latched_status) return *std::exchange(latched_status, std::nullopt);
  const auto value = latched_count.value_or(count(now_ns));
  const bool high = access == access_high || (access != access_low && read_high);
  if (access != access_low && access != access_high) read_high = !read_high;
  const bool last = access == access_low || access == access_high || high;
  if (last) latched_count.reset();
  return static_cast<std::uint8_t>(high ? value >> 8 : value & 0xff);
}

bool Pit::Counter::write(std::uint8_t value, std::uint64_t now_ns) noexcept {
  if (access == access_low) {
    load(value, now_ns);
  } else if (access == access_high) {
    load(static_cast<std::uint16_t>(value << 8), now_ns);
  } else if (!write_high) {
    written_low = value;
    write_high = true;
    if (mode == 0 && counting) stop(now_ns);
    return false;
  } else {
    write_high = false;
    load(static_cast<std::uint16_t>(value << 8 | written_low), now_ns);
  }
  return true;
}

Pit::Pit(Wiring wiring) : wiring_(std::move(wiring)) {
  counters_[2].gate = false;
}

void Pit::plan(std::uint64_t clocks, std::uint64_t earliest_ns) noexcept {
  const auto& counter = counters_[0];
  const auto rise = counter.rise_after(clocks);
  if (!rise) return cancel();
  const auto at = counter.since_ns + to_ns(*rise) - std::min(counter.elapsed_ns, to_ns(*rise));
  rise_at_ns_ = std::max(at, earliest_ns);
  wiring_.wake_at_ns(rise_at_ns_);
}

void Pit::cancel() noexcept {
  if (!std::exchange(rise_at_ns_, std::nullopt)) return;
  wiring_.wake_at_ns(std::nullopt);
}

void Pit::wake() noexcept {
  const std::scoped_lock lock(mutex_);
  const auto now = wiring_.now_ns();
  if (!rise_at_ns_) return;
  if (now < *rise_at_ns_) return wiring_.wake_at_ns(rise_at_ns_);
  wiring_.tick();
  rise_at_ns_.reset();
  plan(counters_[0].clocks(now), now + shortest_tick_ns);
}

void Pit::write_control(std::uint8_t word, std::uint64_t now) noexcept {
  const unsigned select = word >> select_shift;
  if (select == read_back) {
    for (unsigned i = 0; i < counters_.size(); ++i) {
      if ((word >> (i + 1) & 1) != 0) counters_[i].latch((word & no_count) == 0, (word & no_status) == 0, now);
    }
    return;
  }
  if ((word >> access_shift & access_mask) == 0) return counters_[select].latch(true, false, now);
  counters_[select].control(word);
  if (select == 0) cancel();
}

void Pit::read(std::uint64_t offset, Bytes data) noexcept {
  std::fill(data.begin(), data.end(), std::byte{0xff});
  if (offset >= control_offset) return;  // write-only
  const std::scoped_lock lock(mutex_);
  data[0] = std::byte{counters_[offset].read(wiring_.now_ns())};
}

void Pit::write(std::uint64_t offset, ConstBytes data) noexcept {
  const auto value = std::to_integer<std::uint8_t>(data[0]);
  const std::scoped_lock lock(mutex_);
  const auto now = wiring_.now_ns();
  if (offset == control_offset) return write_control(value, now);
  if (offset > control_offset) return;
  const bool whole = counters_[offset].write(value, now);
  if (offset != 0) return;
  if (whole) {
    plan(0, now + shortest_tick_ns);
  } else if (!counters_[0].counting) {
    cancel();
  }
}

void Pit::PortB::read(std::uint64_t /*offset*/, Bytes data) noexcept {
  std::fill(data.begin(), data.end(), std::byte{0xff});
  const std::scoped_lock lock(pit.mutex_);
  const auto now = pit.wiring_.now_ns();
  const auto& counter = pit.counters_[2];
  unsigned value = now / refresh_ns % 2 != 0 ? refresh_bit : 0U;
  if (counter.gate) value |= gate_bit;
  if (pit.speaker_) value |= speaker_bit;
  if (counter.output(now)) value |= output_bit;
  data[0] = static_cast<std::byte>(value);
}

void Pit::PortB::write(std::uint64_t /*offset*/, ConstBytes data) noexcept {
  const auto value = std::to_integer<std::uint8_t>(data[0]);
  const std::scoped_lock lock(pit.mutex_);
  pit.speaker_ = (value & speaker_bit) != 0;
  pit.counters_[2].set_gate((value & gate_bit) != 0, pit.wiring_.now_ns());
}

PitState Pit::save() const noexcept {
  const std::scoped_lock lock(mutex_);
  const auto now = wiring_.now_ns();
  PitState state;
  for (std::size_t i = 0; i < counters_.size(); ++i) {
    state.counters[i] = counters_[i];
    state.counters[i].elapsed_ns = counters_[i].elapsed(now);
  }
  state.speaker = speaker_;
  return state;
}

Result<void> Pit::restore(const PitState& state) noexcept {
  constexpr auto operation = "restore the PIT";
  for (const auto& counter : state.counters) {
    if (counter.mode > 5) return Error::malformed(operation, "modes are 0 to 5");
    if (counter.access == 0 || counter.access > access_mask) return Error::malformed(operation, "accesses are 1 to 3");
    if (counter.counting && !counter.loaded) return Error::malformed(operation, "a counter counts that has no count");
  }
  if (!state.counters[0].gate || !state.counters[1].gate) {
    return Error::malformed(operation, "the gates of counters 0 and 1 are open");
  }
  const std::scoped_lock lock(mutex_);
  const auto now = wiring_.now_ns();
  for (std::size_t i = 0; i < counters_.size(); ++i) {
    static_cast<PitCounterState&>(counters_[i]) = state.counters[i];
    counters_[i].since_ns = now;
  }
  speaker_ = state.speaker;
  plan(counters_[0].clocks(now), now);
  return {};
}

}  // namespace trivet::vmm
