// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The tables one by one, for whoever builds a set: acpi_tables does for our machines, a Xen toolstack's guest differs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/vmm/platform_info.hpp>

#include "abi/acpi.hpp"

namespace trivet::vmm::acpi {

using Table = std::vector<std::byte>;

/// A header with our names; length and checksum are for `seal`.
[[nodiscard]] abi::AcpiHeader make_header(const abi::AcpiSignature& signature, std::uint8_t revision);

void append(Table& table, std::span<const std::byte> bytes);

/// Adds an object's bytes; the first `size` of them where given.
template <class T>
void append(Table& table, const T& object, std::size_t size = sizeof(T)) {
  append(table, std::as_bytes(std::span(&object, 1)).first(size));
}

/// Sets the length and makes all bytes add up to zero.
void seal(Table& table);

/// What makes `bytes` add up to zero.
[[nodiscard]] std::uint8_t checksum(std::span<const std::byte> bytes);

[[nodiscard]] Table make_rsdp(GuestAddress xsdt);
[[nodiscard]] Table make_xsdt(std::span<const GuestAddress> tables);
[[nodiscard]] Table make_fadt(const PlatformInfo& platform, GuestAddress dsdt);
/// Local APICs, or x2APICs where the id or the number needs one; the I/O APIC and the PIT's line where there.
[[nodiscard]] Table make_madt(const PlatformInfo& platform);
/// Where ECAM is (PCI Firmware Specification 3.2, 4.1.2).
[[nodiscard]] Table make_mcfg(const PciInfo& pci);
/// A PCI host alone, for tables that somebody else made; its configuration goes through the ports.
[[nodiscard]] Table make_pci_ssdt(const PciInfo& pci);
/// Processors, UARTs, clock, keyboard controller, virtio-mmio devices, PCI host and how to power off.
[[nodiscard]] Table make_dsdt(const PlatformInfo& platform);

}  // namespace trivet::vmm::acpi
