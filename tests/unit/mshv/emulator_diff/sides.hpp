// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>

#include <trivet/core/hypervisor.hpp>

#include "case.hpp"

namespace diff {

/// One way to execute a case, with its memory after it.
class Side {
 public:
  virtual ~Side() = default;
  virtual Result run(const Case& test) = 0;
  [[nodiscard]] virtual Memory memory() = 0;
};

/// A vCPU of a hypervisor, which executes the instruction itself.
class HypervisorSide final : public Side {
 public:
  static trivet::Result<std::unique_ptr<HypervisorSide>> create(trivet::Hypervisor& hypervisor);
  ~HypervisorSide() override;

  Result run(const Case& test) override;
  [[nodiscard]] Memory memory() override;
  [[nodiscard]] const trivet::SystemRegisters& fresh() const;

 private:
  struct Impl;
  explicit HypervisorSide(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The emulator alone: not one guest instruction runs.
[[nodiscard]] std::unique_ptr<Side> emulator_side();

}  // namespace diff
