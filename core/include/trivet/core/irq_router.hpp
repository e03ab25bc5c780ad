// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <memory>

#include <trivet/core/interrupt_line.hpp>
#include <trivet/core/result.hpp>

namespace trivet {

enum class Trigger : std::uint8_t {
  edge,
  level,           ///< `set_level` moves it
  level_resample,  ///< `signal` asserts it, the guest's end-of-interrupt deasserts it and signals `resample_fd`
};

/// Gives out interrupts; a facet of Vm. Routes are per object: destroying one withdraws its route only (P10).
/// Thread rule: any thread.
class IrqRouter {
 public:
  /// The line of global system interrupt `gsi`. `unsupported` names Cap::lines or Cap::resample where there is none,
  /// `out_of_range` a GSI the controllers do not have (caller).
  virtual Result<std::unique_ptr<InterruptLine>> line(std::uint32_t gsi, Trigger trigger) = 0;

  /// A route for one message. `limit` when the hypervisor's table is full (host).
  virtual Result<std::unique_ptr<MsiRoute>> msi_route(const MsiMessage& message) = 0;

  /// Raises one message now, without a route.
  virtual Result<void> signal_msi(const MsiMessage& message) noexcept = 0;

  /// Whether a vector with this message is masked elsewhere, so that the function's own mask bit for it means nothing:
  /// a guest on Xen that takes a message as an event channel masks the channel, and leaves the bit as after power-up.
  [[nodiscard]] virtual bool masked_elsewhere(const MsiMessage& message) const noexcept {
    (void)message;
    return false;
  }

 protected:
  ~IrqRouter() = default;
};

}  // namespace trivet
