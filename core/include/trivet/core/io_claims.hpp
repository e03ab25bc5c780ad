// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/core/address.hpp>
#include <trivet/core/pci_address.hpp>
#include <trivet/core/result.hpp>

namespace trivet {

/// Tells the hypervisor which accesses are ours, where an access that nobody claimed never leaves it (Xen: such a read
/// gives ones and nothing traps); a facet of Vm. Null where every access that is not memory reaches the IoHandler by
/// itself: whoever attaches a device claims where the facet is there.
///
/// A claim lasts until it is released or the Vm is destroyed. Claims may overlap memory, which wins. Thread rule: any
/// thread, also while vCPUs run.
class IoClaims {
 public:
  /// Ports `first` to `first + count - 1`. Errors of all: `already_exists` when this Vm claimed a part of it
  /// (caller); `limit` when the hypervisor has no room for more (host).
  virtual Result<void> claim_ports(std::uint16_t first, std::uint32_t count) = 0;
  virtual Result<void> claim_memory(const GuestRange& range) = 0;
  /// Configuration accesses of one function come to `IoHandler::pci_config_read` and `pci_config_write`, beside other
  /// servers of the same bus.
  virtual Result<void> claim_pci(const PciAddress& function) = 0;

  /// Exactly what one call claimed; `not_found` otherwise (caller).
  virtual Result<void> release_ports(std::uint16_t first, std::uint32_t count) = 0;
  virtual Result<void> release_memory(const GuestRange& range) = 0;
  virtual Result<void> release_pci(const PciAddress& function) = 0;

 protected:
  ~IoClaims() = default;
};

}  // namespace trivet
