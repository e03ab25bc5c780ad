// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/vmm/bus.hpp>
#include <trivet/vmm/power_control.hpp>

namespace trivet::vmm {

/// Hardware-reduced ACPI's sleep control, sleep status and reset registers, one byte each, as the tables describe them.
/// Attached at `layout::sleep_control_port`, 3 bytes. Thread rule: any thread; it has no state.
/// Source: ACPI 6.5, 4.8.3.6 and 4.8.3.7.
class AcpiRegisters final : public BusDevice {
 public:
  static constexpr std::uint64_t size = 3;

  explicit AcpiRegisters(PowerControl& power) noexcept : power_(power) {}

  void read(std::uint64_t offset, Bytes data) noexcept override;
  void write(std::uint64_t offset, ConstBytes data) noexcept override;

 private:
  PowerControl& power_;
};

}  // namespace trivet::vmm
