// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

namespace trivet::vmm {

/// What the guest asks of the machine through a device. Thread rule: any vCPU's thread; returns at once.
class PowerControl {
 public:
  virtual void power_off() noexcept = 0;
  virtual void reset() noexcept = 0;
  /// The guest said that it cannot go on.
  virtual void crash() noexcept = 0;

 protected:
  ~PowerControl() = default;
};

}  // namespace trivet::vmm
