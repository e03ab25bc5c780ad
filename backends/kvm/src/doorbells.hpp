// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/doorbell.hpp>

#include "context.hpp"

namespace trivet::kvm {

/// Doorbells as ioeventfds. Source: Linux Documentation/virt/kvm/api.rst, KVM_IOEVENTFD.
class KernelDoorbells final : public Doorbells {
 public:
  explicit KernelDoorbells(const Context& context) noexcept : context_(context) {}
  Result<std::unique_ptr<Doorbell>> create(const DoorbellSpec& spec) override;

 private:
  const Context& context_;
};

}  // namespace trivet::kvm
