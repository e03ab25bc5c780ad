// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include <trivet/core/irq_router.hpp>

#include "context.hpp"
#include "pin.hpp"

namespace trivet::xen {

/// Lines, where Xen emulates the controllers they lead to, and messages. A line must never reach Xen for a domain that
/// has LAPICs only: Xen panics. Source: xen/hvm/dm_op.h.
class Router final : public IrqRouter {
 public:
  explicit Router(const Context& context) noexcept : context_(context) {}

  Result<std::unique_ptr<InterruptLine>> line(std::uint32_t gsi, Trigger trigger) override;
  Result<std::unique_ptr<MsiRoute>> msi_route(const MsiMessage& message) override;
  Result<void> signal_msi(const MsiMessage& message) noexcept override;
  [[nodiscard]] bool masked_elsewhere(const MsiMessage& message) const noexcept override;

 private:
  Result<std::shared_ptr<Pin>> pin(std::uint32_t gsi, const Wire& wire, Trigger trigger);

  const Context& context_;
  std::mutex mutex_;
  std::map<std::uint32_t, std::weak_ptr<Pin>> pins_;  // by GSI
};

}  // namespace trivet::xen
