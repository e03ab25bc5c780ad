// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/vmm/acpi_fixed_hardware.hpp>
#include <trivet/vmm/layout_x86_64.hpp>

namespace trivet::vmm {
namespace {

constexpr std::uint64_t timer_hz = 3'579'545;
constexpr std::uint32_t timer_mask = 0xff'ffff;
constexpr unsigned control_sci_enabled = 1U << 0;
constexpr unsigned control_sleep_type_shift = 10, control_sleep_type_mask = 7;
constexpr unsigned control_sleep_enable = 1U << 13;
constexpr std::uint64_t byte_mask = 0xff;

std::uint32_t ticks(std::chrono::steady_clock::time_point now) {
  const auto ns =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count());
  constexpr std::uint64_t second = 1'000'000'000;
  return static_cast<std::uint32_t>(ns / second * timer_hz + ns % second * timer_hz / second) & timer_mask;
}

}  // namespace

/// The eight bytes from `pm1_status` on.
std::uint64_t AcpiFixedHardware::registers() const noexcept {
  constexpr auto shift = [](std::uint64_t at) { return 8 * (at - pm1_status); };
  return std::uint64_t{enabled_.load()} << shift(pm1_enable) | std::uint64_t{control_sci_enabled} << shift(pm1_control);
}

void AcpiFixedHardware::read(std::uint64_t offset, Bytes data) noexcept {
  auto value = offset < pm1_status ? std::uint64_t{ticks(now_())} : registers();
  value >>= 8 * (offset % pm1_status);
  for (auto& byte : data) {
    byte = static_cast<std::byte>(value & byte_mask);
    value >>= 8;
  }
}

void AcpiFixedHardware::write(std::uint64_t offset, ConstBytes data) noexcept {
  unsigned value = std::to_integer<unsigned>(data[0]);
  if (data.size() > 1) value |= std::to_integer<unsigned>(data[1]) << 8;
  // Guests write whole registers, of which no byte means anything alone but the upper one of control.
  if (offset == pm1_enable && data.size() == 2) {
    enabled_ = static_cast<std::uint16_t>(value);
  } else if (offset == pm1_status && data.size() == 4) {
    enabled_ = static_cast<std::uint16_t>(std::to_integer<unsigned>(data[2]) | std::to_integer<unsigned>(data[3]) << 8);
  } else if (offset == pm1_control && data.size() >= 2 && (value & control_sleep_enable) != 0 &&
             (value >> control_sleep_type_shift & control_sleep_type_mask) == layout::soft_off_type) {
    power_.power_off();
  }
}

}  // namespace trivet::vmm
