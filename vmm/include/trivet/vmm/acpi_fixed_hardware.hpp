// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include <trivet/vmm/bus.hpp>
#include <trivet/vmm/power_control.hpp>

namespace trivet::vmm {

/// The fixed registers of ACPI hardware that is not reduced, for a machine that starts as a PC does: with a BIOS that
/// leaves PICs and PIT running, which a guest only stops if it is told of them. PM timer (24 bits), PM1 events, of
/// which none ever comes, and PM1 control, which powers off. ACPI is always enabled.
///
/// Attached at `layout::fixed_hardware_port`, 16 bytes. Thread rule: any thread.
/// Source: ACPI 6.5, 4.8.3.1 to 4.8.3.3.
class AcpiFixedHardware final : public BusDevice {
 public:
  static constexpr std::uint64_t size = 16;
  static constexpr std::uint64_t timer = 0, pm1_status = 8, pm1_enable = 10, pm1_control = 12;
  using Now = std::chrono::steady_clock::time_point (*)();

  /// `now` is the host's clock; tests give their own.
  explicit AcpiFixedHardware(
      PowerControl& power, Now now = [] { return std::chrono::steady_clock::now(); }) noexcept
      : power_(power), now_(now) {}

  void read(std::uint64_t offset, Bytes data) noexcept override;
  void write(std::uint64_t offset, ConstBytes data) noexcept override;

 private:
  [[nodiscard]] std::uint64_t registers() const noexcept;

  PowerControl& power_;
  Now now_;
  std::atomic<std::uint16_t> enabled_{0};
};

}  // namespace trivet::vmm
