// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <trivet/core/event.hpp>
#include <trivet/core/irq_router.hpp>

#include "context.hpp"
#include "irqchip_x86_64.hpp"
#include "pin.hpp"

namespace trivet::kvm {

/// Lines and message routes. KVM_SET_GSI_ROUTING replaces the whole table, so that a shadow of it is kept here.
/// Source: Linux Documentation/virt/kvm/api.rst, KVM_SET_GSI_ROUTING, KVM_IRQFD, KVM_SIGNAL_MSI.
class Router final : public IrqRouter {
 public:
  Router(const Context& context, KernelIrqchip& irqchip) noexcept : context_(context), irqchip_(irqchip) {}

  Result<std::unique_ptr<InterruptLine>> line(std::uint32_t gsi, Trigger trigger) override;
  Result<std::unique_ptr<MsiRoute>> msi_route(const MsiMessage& message) override;
  Result<void> signal_msi(const MsiMessage& message) noexcept override;

  /// KVM_IRQFD on or off. `resample_fd` -1: none.
  Result<void> connect(std::uint32_t gsi, int event_fd, int resample_fd) const;
  void disconnect(std::uint32_t gsi, int event_fd) const noexcept;

  // For a message route, which is a GSI of its own that its event raises. The GSI changes when the message turns from
  // edge to level or back, and is looked at only under the router's lock.
  Result<std::uint32_t> add_route(const MsiMessage& message, int event_fd);
  Result<void> change_route(std::uint32_t& gsi, const MsiMessage& message, int event_fd);
  void remove_route(const std::uint32_t& gsi, int event_fd) noexcept;

 private:
  Result<std::shared_ptr<Pin>> pin(std::uint32_t gsi, Trigger trigger);
  /// The GSIs that may carry such a message: from the first up to but not including the second.
  [[nodiscard]] std::pair<std::uint32_t, std::uint32_t> gsis_for(const MsiMessage& message) const noexcept;
  Result<std::uint32_t> free_gsi(const MsiMessage& message) const;
  Result<std::uint32_t> insert(const MsiMessage& message);
  Result<void> write_table() const;

  const Context& context_;
  KernelIrqchip& irqchip_;
  std::mutex mutex_;
  std::map<std::uint32_t, MsiMessage> messages_;      // by GSI
  std::map<std::uint32_t, std::weak_ptr<Pin>> pins_;  // by GSI
};

}  // namespace trivet::kvm
