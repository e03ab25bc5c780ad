// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A driver's access to a device, a byte at a time.
#pragma once

#include <array>
#include <cstdint>

#include <trivet/core/interrupt_line.hpp>
#include <trivet/vmm/bus.hpp>
#include <trivet/vmm/power_control.hpp>

namespace trivet::vmm::testing {

inline std::uint8_t in(BusDevice& device, std::uint64_t offset) {
  std::array<std::byte, 1> data{};
  device.read(offset, data);
  return std::to_integer<std::uint8_t>(data[0]);
}

inline void out(BusDevice& device, std::uint64_t offset, unsigned value) {
  const std::array data{static_cast<std::byte>(value)};
  device.write(offset, data);
}

class CountingLine final : public InterruptLine {
 public:
  Result<void> signal() noexcept override {
    ++signals;
    return {};
  }
  Result<void> set_level(bool) noexcept override { return Error::unsupported("set_level", "edge"); }
  [[nodiscard]] int trigger_fd() const noexcept override { return -1; }
  [[nodiscard]] int resample_fd() const noexcept override { return -1; }
  int signals = 0;
};

class PowerRecorder final : public PowerControl {
 public:
  void power_off() noexcept override { ++power_offs; }
  void reset() noexcept override { ++resets; }
  void crash() noexcept override { ++crashes; }
  int power_offs = 0;
  int crashes = 0;
  int resets = 0;
};

}  // namespace trivet::vmm::testing
