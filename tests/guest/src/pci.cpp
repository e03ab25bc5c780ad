// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "pci.hpp"

#include "acpi.hpp"
#include "cpu.hpp"

namespace guest {
namespace {

constexpr std::uint16_t address_port = 0xcf8, data_port = 0xcfc;

std::uint32_t address_of(PciFunction where, std::uint32_t offset) {
  return 1u << 31 | std::uint32_t{where.device} << 11 | std::uint32_t{where.function} << 8 | (offset & 0xfc);
}
std::uint64_t ecam_of(PciFunction where, std::uint32_t offset) {
  return acpi.ecam + (std::uint64_t{where.device} << 15 | std::uint64_t{where.function} << 12 | offset);
}

}  // namespace

bool pci_present() {
  return acpi.ecam != 0 || acpi.pci_host;
}

std::uint32_t pci_port_read32(PciFunction where, std::uint32_t offset) {
  out32(address_port, address_of(where, offset));
  return in32(data_port);
}

std::uint32_t pci_read32(PciFunction where, std::uint32_t offset) {
  return acpi.ecam != 0 ? read32(ecam_of(where, offset)) : pci_port_read32(where, offset);
}

void pci_write32(PciFunction where, std::uint32_t offset, std::uint32_t value) {
  if (acpi.ecam != 0) return write32(ecam_of(where, offset), value);
  out32(address_port, address_of(where, offset));
  out32(data_port, value);
}

}  // namespace guest
