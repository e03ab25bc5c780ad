// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

/// PCI configuration space as every function has it. Offsets in bytes.
/// Source: PCI Local Bus Specification 3.0, 6.1 (header), 6.2 (registers), 6.7 (capabilities), 6.8.2 (MSI-X).
namespace trivet::pci::reg {

// 6.1, figure 6-1: the type 0 header.
inline constexpr std::uint16_t vendor_id = 0x00;
inline constexpr std::uint16_t device_id = 0x02;
inline constexpr std::uint16_t command = 0x04;
inline constexpr std::uint16_t status = 0x06;
inline constexpr std::uint16_t revision_id = 0x08;
inline constexpr std::uint16_t class_code = 0x09;  ///< three bytes: interface, subclass, class
inline constexpr std::uint16_t cache_line_size = 0x0c;
inline constexpr std::uint16_t latency_timer = 0x0d;
inline constexpr std::uint16_t header_type = 0x0e;
inline constexpr std::uint16_t bar0 = 0x10;  ///< six registers of four bytes
inline constexpr std::uint16_t subsystem_vendor_id = 0x2c;
inline constexpr std::uint16_t subsystem_id = 0x2e;
inline constexpr std::uint16_t capabilities = 0x34;
inline constexpr std::uint16_t interrupt_line = 0x3c;
inline constexpr std::uint16_t interrupt_pin = 0x3d;
inline constexpr std::uint16_t first_capability = 0x40;

// 6.2.2: bits of the command register.
inline constexpr std::uint16_t command_memory = 1U << 1;
inline constexpr std::uint16_t command_bus_master = 1U << 2;
inline constexpr std::uint16_t command_interrupt_disable = 1U << 10;

// 6.2.3: bits of the status register.
inline constexpr std::uint16_t status_interrupt = 1U << 3;
inline constexpr std::uint16_t status_capabilities = 1U << 4;

// 6.2.5.1: the low bits of a memory BAR.
inline constexpr std::uint32_t bar_64_bit = 2U << 1;
inline constexpr std::uint32_t bar_prefetchable = 1U << 3;
inline constexpr std::uint32_t bar_flags = 0xf;

// Appendix H: capability ids.
inline constexpr std::uint8_t capability_vendor = 0x09;
inline constexpr std::uint8_t capability_msix = 0x11;

// 6.8.2: the MSI-X capability, from its start, and the table.
inline constexpr std::uint16_t msix_control = 2;
inline constexpr std::uint16_t msix_control_enable = 1U << 15;
inline constexpr std::uint16_t msix_control_function_mask = 1U << 14;
inline constexpr std::uint16_t msix_largest_table = 2048;
inline constexpr std::uint64_t msix_entry_size = 16;  ///< address low and high, data, vector control
inline constexpr std::uint32_t msix_vector_masked = 1;

// Appendix D: class codes.
inline constexpr std::uint32_t class_host_bridge = 0x06'00'00;

}  // namespace trivet::pci::reg
