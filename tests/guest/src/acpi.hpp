// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// As much of ACPI as a small guest needs: processors, power off, reset, virtio-mmio devices, the PCI host.
#pragma once

#include <cstddef>
#include <cstdint>

#include "boot_info.hpp"

namespace guest {

struct MmioDevice {
  std::uint64_t address;
  std::uint32_t size;
  std::uint32_t gsi;
};

struct AcpiFacts {
  static constexpr std::size_t most_processors = 256;
  static constexpr std::size_t most_devices = 32;
  static constexpr std::size_t most_tables = 16;

  bool found = false;
  std::uint32_t tables[most_tables] = {};  ///< signatures, in order
  std::size_t table_count = 0;
  std::uint32_t apic_ids[most_processors] = {};
  std::size_t processor_count = 0;
  std::uint64_t local_apic = 0;  ///< 0: the MADT is missing
  std::size_t ioapic_count = 0;
  bool hardware_reduced = false;
  MmioDevice devices[most_devices] = {};
  std::size_t device_count = 0;
  std::uint64_t ecam = 0;        ///< of bus 0; 0: none named
  std::uint16_t panic_port = 0;  ///< QEMU0001's; 0: none
  bool pci_host = false;         ///< the DSDT has one
};

extern AcpiFacts acpi;

/// Walks the tables from the RSDP (found by scanning where the loader names none).
void acpi_start(const BootInfo& info);

/// Powers off through the sleep control register, or PM1a; returns false where there is neither.
bool acpi_power_off();
/// Reports a crash through the port of QEMU0001; returns false where there is none.
bool acpi_report_crash();
/// Resets through the FADT's reset register; returns false where there is none.
bool acpi_reset();

}  // namespace guest
