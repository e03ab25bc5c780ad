// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/irqchip.hpp>

namespace trivet::mshv {

/// The hypervisor has local APICs only, and those belong to their vCPUs.
class LocalApics final : public Irqchip {
 public:
  [[nodiscard]] IrqchipKind kind() const noexcept override { return IrqchipKind::split; }
  Result<std::vector<IrqchipState>> save() const override { return std::vector<IrqchipState>{}; }
  Result<void> restore(const std::vector<IrqchipState>& states) override {
    if (states.empty()) return {};
    return Error::malformed("restore interrupt controllers", states.front().controller + ": there is none here");
  }
};

}  // namespace trivet::mshv
