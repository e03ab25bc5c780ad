// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/irqchip.hpp>

#include "context.hpp"

namespace trivet::xen {

/// The controllers and timers that Xen emulates for the whole domain, as records of its HVM context. A PVH domain has
/// none. Source: xen/arch-x86/hvm/save.h.
class DomainIrqchip final : public Irqchip {
 public:
  explicit DomainIrqchip(const Context& context) noexcept : context_(context) {}

  [[nodiscard]] IrqchipKind kind() const noexcept override { return context_.config.irqchip; }
  Result<std::vector<IrqchipState>> save() const override;
  Result<void> restore(const std::vector<IrqchipState>& states) override;

 private:
  const Context& context_;
};

}  // namespace trivet::xen
