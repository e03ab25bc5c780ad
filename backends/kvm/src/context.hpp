// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <vector>

#include <trivet/core/unique_fd.hpp>
#include <trivet/core/vm.hpp>

#include "device.hpp"
#include "registers_x86_64.hpp"

namespace trivet::kvm {

/// What the parts of one VM share; fixed once the VM is made. The Device belongs to the Hypervisor, which outlives its
/// VMs.
struct Context {
  const Device& device;
  UniqueFd fd;
  VmConfig config;
  std::vector<CpuidEntry> cpuid{};  ///< what the host supports
  EventFeatures events{};

  [[nodiscard]] int vm() const noexcept { return fd.value(); }
  [[nodiscard]] bool has_lapic() const noexcept { return config.irqchip != IrqchipKind::none; }
};

}  // namespace trivet::kvm
