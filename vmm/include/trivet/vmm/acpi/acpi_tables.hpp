// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/vmm/platform_info.hpp>

namespace trivet::vmm {

/// One table inside `AcpiTables::bytes`.
struct AcpiTableSpan {
  std::array<char, 4> signature{};
  std::size_t offset = 0;
  std::size_t size = 0;
};

/// ACPI tables as they go into guest memory, in one run.
struct AcpiTables {
  GuestAddress rsdp;
  std::vector<std::byte> bytes;       ///< for the start of the area; the root pointer first
  std::vector<AcpiTableSpan> tables;  ///< without the root pointer
};

/// Root pointer, XSDT, DSDT, hardware-reduced FADT, MADT and, with PCI, MCFG for this platform, to be put at the start
/// of `area`.
///
/// `invalid_argument` (caller), naming the thing: no vCPU, two vCPUs with one APIC id, a virtio-mmio device that is
/// empty or not below 4 GiB or overlaps another, a PCI window likewise, an interrupt without an I/O APIC or beyond its
/// pins, ports beyond the last; `limit` (caller): they do not fit `area`, or more vCPUs or devices than names (4,096).
/// Any thread. Source: ACPI 6.5, 5.2 (tables), 4.1 (hardware-reduced), 19 and 20 (AML).
Result<AcpiTables> acpi_tables(const PlatformInfo& platform, const GuestRange& area);

}  // namespace trivet::vmm
