// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>

#include <trivet/vmm/rtc.hpp>

namespace trivet::vmm {
namespace {

using std::chrono::system_clock;

enum Register : std::uint8_t {
  seconds = 0x00,
  minutes = 0x02,
  hours = 0x04,
  day_of_week = 0x06,
  day_of_month = 0x07,
  month = 0x08,
  year = 0x09,
  status_a = 0x0a,
  status_b = 0x0b,
  status_c = 0x0c,
  status_d = 0x0d,
  century = 0x32,
};

constexpr std::uint8_t a_updating = 0x80, a_default = 0x26;  // 32.768 kHz divider, 1024 Hz
constexpr std::uint8_t b_set = 0x80, b_binary = 0x04, b_24_hours = 0x02;
constexpr std::uint8_t d_valid = 0x80;
constexpr std::uint8_t hour_pm = 0x80;
constexpr auto update_lasts = std::chrono::microseconds(244);  // the UIP bit's lead before the second changes

bool is_time(std::uint8_t index) {
  return index == seconds || index == minutes || index == hours || (index >= day_of_week && index <= year) ||
         index == century;
}

}  // namespace

Rtc::Rtc(Now now) noexcept : now_(now) {
  registers_[status_a] = a_default;
  registers_[status_b] = b_24_hours;
  registers_[status_d] = d_valid;
}

void Rtc::read(std::uint64_t offset, Bytes data) noexcept {
  std::fill(data.begin(), data.end(), std::byte{0xff});
  const std::scoped_lock lock(mutex_);
  if (offset == 1) data[0] = std::byte{read_register(index_)};  // the index port is write-only
}

void Rtc::write(std::uint64_t offset, ConstBytes data) noexcept {
  const auto value = std::to_integer<std::uint8_t>(data[0]);
  const std::scoped_lock lock(mutex_);
  if (offset == 0) {
    index_ = value & 0x7f;  // bit 7 masks NMIs on real boards
  } else {
    write_register(index_, value);
  }
}

bool Rtc::setting() const noexcept {
  return (registers_[status_b] & b_set) != 0;
}

std::uint8_t Rtc::encode(unsigned value) const noexcept {
  if ((registers_[status_b] & b_binary) != 0) return static_cast<std::uint8_t>(value);
  return static_cast<std::uint8_t>((value / 10) << 4 | value % 10);
}

unsigned Rtc::decode(std::uint8_t value) const noexcept {
  if ((registers_[status_b] & b_binary) != 0) return value;
  return (value >> 4) * 10u + (value & 0x0fu);
}

std::uint8_t Rtc::encode_hour(unsigned hour) const noexcept {
  if ((registers_[status_b] & b_24_hours) != 0) return encode(hour);
  const auto twelve = hour % 12 == 0 ? 12 : hour % 12;
  return static_cast<std::uint8_t>(encode(twelve) | (hour >= 12 ? hour_pm : 0));
}

unsigned Rtc::decode_hour(std::uint8_t value) const noexcept {
  if ((registers_[status_b] & b_24_hours) != 0) return decode(value);
  const auto twelve = decode(value & 0x7f) % 12;
  return (value & hour_pm) != 0 ? twelve + 12 : twelve;
}

std::uint8_t Rtc::read_register(std::uint8_t index) noexcept {
  if (index == status_a) {
    const auto left = std::chrono::seconds(1) - now_().time_since_epoch() % std::chrono::seconds(1);
    const bool updating = !setting() && left <= update_lasts;
    return static_cast<std::uint8_t>(registers_[status_a] | (updating ? a_updating : 0));
  }
  if (index == status_c) return 0;
  if (index == status_d) return d_valid;
  if (is_time(index) && !setting()) refresh();
  return registers_[index];
}

void Rtc::write_register(std::uint8_t index, std::uint8_t value) noexcept {
  switch (index) {
    case status_a:
      registers_[status_a] = value & ~a_updating & 0xff;
      return;
    case status_b:
      if ((value & b_set) != 0 && !setting()) refresh();  // what is not written keeps its value
      if ((value & b_set) == 0 && setting()) {
        registers_[status_b] = value;
        adopt();
        return;
      }
      registers_[status_b] = value;
      return;
    case status_c:
    case status_d:
      return;  // read-only
    default:
      break;
  }
  if (!is_time(index)) {
    registers_[index] = value;
    return;
  }
  if (!setting()) refresh();
  registers_[index] = value;
  if (!setting()) adopt();
}

void Rtc::refresh() noexcept {
  using namespace std::chrono;
  const auto now = floor<std::chrono::seconds>(now_()) + std::chrono::seconds(offset_seconds_);
  const auto midnight = floor<days>(now);
  const year_month_day date(midnight);
  const hh_mm_ss clock(now - midnight);
  const auto full_year = static_cast<unsigned>(static_cast<int>(date.year()));
  registers_[Register::seconds] = encode(static_cast<unsigned>(clock.seconds().count()));
  registers_[Register::minutes] = encode(static_cast<unsigned>(clock.minutes().count()));
  registers_[Register::hours] = encode_hour(static_cast<unsigned>(clock.hours().count()));
  registers_[day_of_week] = encode(weekday(midnight).c_encoding() + 1);
  registers_[day_of_month] = encode(static_cast<unsigned>(date.day()));
  registers_[Register::month] = encode(static_cast<unsigned>(date.month()));
  registers_[Register::year] = encode(full_year % 100);
  registers_[century] = encode(full_year / 100 % 100);
}

void Rtc::adopt() noexcept {
  using namespace std::chrono;
  const auto full_year = static_cast<int>(decode(registers_[century]) * 100 + decode(registers_[Register::year]));
  const year_month_day date{std::chrono::year(full_year), std::chrono::month(decode(registers_[Register::month])),
                            day(decode(registers_[day_of_month]))};
  const auto hour = decode_hour(registers_[Register::hours]);
  const auto minute = decode(registers_[Register::minutes]);
  const auto second = decode(registers_[Register::seconds]);
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return;  // no such time: the clock keeps its own
  const auto wanted =
      sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second);
  offset_seconds_ = (wanted - floor<std::chrono::seconds>(now_())).count();
}

void Rtc::set_memory(std::uint8_t index, std::uint8_t value) {
  const std::scoped_lock lock(mutex_);
  if (index > status_d && index != century && index < registers_.size()) registers_[index] = value;
}

RtcState Rtc::save() const {
  const std::scoped_lock lock(mutex_);
  return {index_, registers_, offset_seconds_};
}

void Rtc::restore(const RtcState& state) {
  // 10,000 years either way: far enough for any guest, and no sum with the host's clock can overflow.
  constexpr std::int64_t most = std::int64_t{10'000} * 366 * 86'400;
  const std::scoped_lock lock(mutex_);
  index_ = state.index & 0x7f;
  registers_ = state.registers;
  registers_[status_d] = d_valid;
  offset_seconds_ = std::clamp(state.offset_seconds, -most, most);
}

}  // namespace trivet::vmm
