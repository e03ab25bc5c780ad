// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <trivet/core/result.hpp>

namespace trivet {

/// Which interrupt controllers the hypervisor provides. Chosen in VmConfig.
enum class IrqchipKind : std::uint8_t {
  none,
  split,  ///< x86: LAPICs; IOAPIC, PIC and PIT are the VMM's (Xen: a PVH domain)
  full,   ///< x86: LAPICs, IOAPIC and PICs (Xen: an HVM domain)
};

/// One controller's state, by the kind's name ("ioapic", "pic_master", "pic_slave", "pit"), as the bytes of its
/// registers in the backend's order; the LAPICs belong to their vCPUs.
struct IrqchipState {
  std::string controller;
  std::vector<std::uint8_t> registers;

  friend bool operator==(const IrqchipState&, const IrqchipState&) = default;
};

/// The VM-wide interrupt controllers in the hypervisor; a facet of Vm, null for `IrqchipKind::none`.
/// Thread rule: any thread while all vCPUs are stopped.
class Irqchip {
 public:
  [[nodiscard]] virtual IrqchipKind kind() const noexcept = 0;
  virtual Result<std::vector<IrqchipState>> save() const = 0;
  /// `malformed`: an unknown controller or a wrong number of bytes; nothing was restored then.
  virtual Result<void> restore(const std::vector<IrqchipState>& states) = 0;

 protected:
  ~Irqchip() = default;
};

}  // namespace trivet
