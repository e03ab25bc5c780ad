// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// PCI configuration space of bus 0, through ECAM where the tables name one, else through the ports
// (PCI 3.0, 3.2.2.3.2).
#pragma once

#include <cstdint>

namespace guest {

struct PciFunction {
  std::uint8_t device;
  std::uint8_t function;
};

/// Whether there is a PCI host at all.
bool pci_present();
std::uint32_t pci_read32(PciFunction where, std::uint32_t offset);
void pci_write32(PciFunction where, std::uint32_t offset, std::uint32_t value);
/// Some register of a function through the ports, whatever the other calls use.
std::uint32_t pci_port_read32(PciFunction where, std::uint32_t offset);

inline std::uint16_t pci_read16(PciFunction where, std::uint32_t offset) {
  return static_cast<std::uint16_t>(pci_read32(where, offset & ~3u) >> (8 * (offset & 2)));
}
inline std::uint8_t pci_read8(PciFunction where, std::uint32_t offset) {
  return static_cast<std::uint8_t>(pci_read32(where, offset & ~3u) >> (8 * (offset & 3)));
}

}  // namespace guest
