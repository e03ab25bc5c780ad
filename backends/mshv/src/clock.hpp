// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/clock.hpp>

#include "context.hpp"

namespace trivet::mshv {

/// The partition's reference time. Source: TLFS, "Partition Reference Time"; HvPartitionPropertyReferenceTime.
class ReferenceClock final : public Clock {
 public:
  explicit ReferenceClock(const Context& context) noexcept : context_(context) {}
  Result<ClockState> save() const override;
  Result<void> restore(const ClockState& state, ClockRestore mode) override;

 private:
  const Context& context_;
};

}  // namespace trivet::mshv
