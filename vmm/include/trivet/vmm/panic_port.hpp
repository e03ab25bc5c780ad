// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <algorithm>

#include <trivet/vmm/bus.hpp>
#include <trivet/vmm/power_control.hpp>

namespace trivet::vmm {

/// The port by which a guest says that it has crashed, as QEMU's pvpanic, which guests have drivers for: reading gives
/// the events that are known, writing reports some. Thread rule: any thread; it has no state.
/// Source: QEMU, docs/specs/pvpanic.
class PanicPort final : public BusDevice {
 public:
  static constexpr std::uint64_t size = 1;
  static constexpr std::byte panicked{1};  ///< the guest has panicked; nothing of it will go on

  explicit PanicPort(PowerControl& power) noexcept : power_(power) {}

  void read(std::uint64_t, Bytes data) noexcept override { std::fill(data.begin(), data.end(), panicked); }
  void write(std::uint64_t, ConstBytes data) noexcept override {
    if ((data[0] & panicked) != std::byte{0}) power_.crash();
  }

 private:
  PowerControl& power_;
};

}  // namespace trivet::vmm
