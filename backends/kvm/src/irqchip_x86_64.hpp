// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <mutex>

#include <trivet/core/irqchip.hpp>

#include "context.hpp"

namespace trivet::kvm {

/// The interrupt controllers in the kernel, made when first needed: mapping memory is 30 times cheaper before that.
/// Source: Linux Documentation/virt/kvm/api.rst, KVM_CREATE_IRQCHIP, KVM_CAP_SPLIT_IRQCHIP, KVM_CREATE_PIT2.
class KernelIrqchip final : public Irqchip {
 public:
  explicit KernelIrqchip(const Context& context) noexcept : context_(context) {}

  /// Makes them, once. Any thread.
  Result<void> ensure();

  [[nodiscard]] IrqchipKind kind() const noexcept override { return context_.config.irqchip; }
  Result<std::vector<IrqchipState>> save() const override;
  Result<void> restore(const std::vector<IrqchipState>& states) override;

 private:
  Result<void> make() const;

  const Context& context_;
  std::mutex mutex_;
  std::atomic<bool> made_{false};
};

}  // namespace trivet::kvm
