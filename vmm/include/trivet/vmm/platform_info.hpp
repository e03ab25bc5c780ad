// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/irq_router.hpp>
#include <trivet/vmm/layout_x86_64.hpp>

namespace trivet::vmm {

/// An I/O APIC. Source: MADT structure type 1, ACPI 6.5, 5.2.12.3.
struct IoApicInfo {
  std::uint8_t id = 0;
  GuestAddress address = layout::ioapic.start;
  std::uint32_t first_gsi = 0;
};

/// A 16550 UART at eight ports. Without a line, Linux polls it.
struct SerialInfo {
  std::uint16_t port = layout::com1_port;
  std::optional<std::uint32_t> gsi = layout::com1_gsi;
};

/// A CMOS real-time clock at two ports.
struct RtcInfo {
  std::uint16_t port = layout::rtc_port;
  std::optional<std::uint32_t> gsi;
};

/// A virtio device on the MMIO transport.
struct VirtioMmioInfo {
  GuestRange range;  ///< below 4 GiB
  std::uint32_t gsi = 0;
  Trigger trigger = Trigger::edge;
};

/// A PCI host with configuration ports, ECAM and a window for BARs; its functions have messages, no interrupt lines.
struct PciInfo {
  GuestRange ecam = layout::pci_ecam;      ///< a megabyte for each bus from 0 on, below 4 GiB
  GuestRange memory = layout::pci_memory;  ///< below 4 GiB
  std::uint8_t last_bus = layout::pci_last_bus;
  std::optional<GuestRange> high_memory{};  ///< a second window, above RAM
};

/// What a guest is told about its machine: the loader writes the memory map, the ACPI tables tell the rest.
struct PlatformInfo {
  std::uint64_t ram_bytes = 0;          ///< as for `ram_ranges`
  std::vector<std::uint32_t> apic_ids;  ///< one a vCPU, in the vCPUs' order; the first is the boot vCPU's
  bool acpi = true;                     ///< no tables, no root pointer when clear
  std::optional<IoApicInfo> ioapic;     ///< none: no interrupt lines either, so no `gsi` below may be set
  bool pit = false;                     ///< PIC and PIT are there, the PIT's line on pin 2
  std::vector<SerialInfo> serial;
  std::optional<RtcInfo> rtc;
  bool fixed_hardware = false;  ///< ACPI's fixed registers are there: AcpiFixedHardware; else it is hardware-reduced
  bool i8042 = false;           ///< a keyboard controller that answers as one; clear when it can only reset
  bool panic_port = false;      ///< a port by which the guest reports its crash, at `layout::panic_port`
  std::vector<VirtioMmioInfo> virtio_mmio;
  std::optional<PciInfo> pci;
};

}  // namespace trivet::vmm
