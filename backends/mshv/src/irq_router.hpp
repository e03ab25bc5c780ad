// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include <trivet/core/event.hpp>
#include <trivet/core/irq_router.hpp>

#include "context.hpp"

namespace trivet::mshv {

/// Message routes; lines are the VMM's business, which has the IOAPIC. MSHV_SET_MSI_ROUTING replaces the whole table,
/// so that a shadow of it is kept here. A message that raises no interrupt on a processor (its address is no local
/// APIC's) raises none here: its route is left out. Source: include/uapi/linux/mshv.h, MSHV_SET_MSI_ROUTING,
/// MSHV_IRQFD; HvCallAssertVirtualInterrupt.
class Router final : public IrqRouter {
 public:
  explicit Router(const Context& context) noexcept : context_(context) {}

  Result<std::unique_ptr<InterruptLine>> line(std::uint32_t gsi, Trigger trigger) override;
  Result<std::unique_ptr<MsiRoute>> msi_route(const MsiMessage& message) override;
  Result<void> signal_msi(const MsiMessage& message) noexcept override;

  /// MSHV_IRQFD on or off. `resample_fd` -1: none; else the route must be level-triggered. The driver of Linux 6.15
  /// resamples only where the GSI is the number of the vector.
  Result<void> connect(std::uint32_t gsi, int event_fd, int resample_fd) const;
  void disconnect(std::uint32_t gsi, int event_fd) const noexcept;

  // For a message route, which is a GSI of its own that its event raises.
  Result<std::uint32_t> add_route(const MsiMessage& message, int event_fd);
  Result<void> change_route(std::uint32_t gsi, const MsiMessage& message);
  void remove_route(std::uint32_t gsi, int event_fd) noexcept;

 private:
  Result<void> write_table() const;

  const Context& context_;
  std::mutex mutex_;
  std::map<std::uint32_t, MsiMessage> messages_;  // by GSI
};

}  // namespace trivet::mshv
