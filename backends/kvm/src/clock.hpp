// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <functional>

#include <trivet/core/clock.hpp>

#include "context.hpp"

namespace trivet::kvm {

/// kvmclock. Source: Linux Documentation/virt/kvm/api.rst, KVM_GET_CLOCK, KVM_SET_CLOCK.
class KernelClock final : public Clock {
 public:
  /// `tell_paused` tells each vCPU that it was stopped, so that the guest's watchdogs look away.
  KernelClock(const Context& context, std::function<void()> tell_paused)
      : context_(context), tell_paused_(std::move(tell_paused)) {}
  Result<ClockState> save() const override;
  Result<void> restore(const ClockState& state, ClockRestore mode) override;

 private:
  const Context& context_;
  std::function<void()> tell_paused_;
};

}  // namespace trivet::kvm
