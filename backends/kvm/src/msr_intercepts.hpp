// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>

#include <trivet/core/msr_intercepts.hpp>

#include "context.hpp"

namespace trivet::kvm {

/// MSR exits through KVM's filter.
/// Source: Linux Documentation/virt/kvm/api.rst, KVM_CAP_X86_USER_SPACE_MSR, KVM_X86_SET_MSR_FILTER.
class MsrFilter final : public MsrIntercepts {
 public:
  explicit MsrFilter(const Context& context) noexcept : context_(context) {}
  Result<void> set(std::span<const MsrRange> ranges) override;

 private:
  const Context& context_;
};

}  // namespace trivet::kvm
