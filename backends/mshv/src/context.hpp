// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/vm.hpp>

#include "device.hpp"
#include "handle.hpp"

namespace trivet::mshv {

/// What the parts of one VM share; fixed once the VM is made. The facts belong to the Hypervisor, which outlives its
/// VMs.
struct Context {
  const HostFacts& host;
  Handle partition;
  VmConfig config;

  [[nodiscard]] bool has_lapic() const noexcept { return config.irqchip != IrqchipKind::none; }
};

}  // namespace trivet::mshv
