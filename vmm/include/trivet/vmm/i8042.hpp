// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>

#include <trivet/vmm/bus.hpp>
#include <trivet/vmm/power_control.hpp>

namespace trivet::vmm {

/// Just enough keyboard controller for the way PCs reset themselves: command 0xfe (pulse the reset line), or bit 0 of
/// the output port cleared. There is no keyboard: what is sent to one is answered by the controller, with 0xfe
/// and the time-out bit, so that nobody has to wait for it.
///
/// Attached at port 0x60, 5 bytes; 0x60 is data, 0x64 status and command. 0x61 is another's. Thread rule: any thread.
/// Source: IBM PC AT Technical Reference, "Keyboard Controller"; IBM PS/2 Hardware Interface Technical Reference; Intel
/// 8042 data sheet.
class I8042 final : public BusDevice {
 public:
  static constexpr std::uint16_t base = 0x60;
  static constexpr std::uint64_t size = 5;

  explicit I8042(PowerControl& power) noexcept : power_(power) {}

  /// Who answers at port 0x61, with offset 0; it outlives this. Before the guest runs.
  void connect_port_b(BusDevice& device) noexcept { port_b_ = &device; }

  void read(std::uint64_t offset, Bytes data) noexcept override;
  void write(std::uint64_t offset, ConstBytes data) noexcept override;

 private:
  enum class Expect : std::uint8_t { nothing, control, output_port };

  void command(std::uint8_t value) noexcept;
  void answer(std::uint8_t value) noexcept;

  PowerControl& power_;
  BusDevice* port_b_ = nullptr;
  // Independent bytes: a guest that races its own vCPUs here gets what a real controller gives it, some order.
  std::atomic<std::uint16_t> answer_{0};  // bit 8: there is one; bit 9: it tells of a time-out
  std::atomic<std::uint8_t> control_{0};
  std::atomic<std::uint8_t> output_port_{0x03};
  std::atomic<Expect> expect_{Expect::nothing};
};

}  // namespace trivet::vmm
