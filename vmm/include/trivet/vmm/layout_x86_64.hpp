// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/// \file
/// The one place that says what lies where in an x86-64 guest. Addresses and sizes in bytes.
#pragma once

#include <array>
#include <cstdint>

#include <trivet/core/address.hpp>

namespace trivet::vmm::layout {

inline constexpr std::uint64_t page_size = 0x1000;
inline constexpr std::uint64_t kibibyte = std::uint64_t{1} << 10;
inline constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;
inline constexpr std::uint64_t gibibyte = std::uint64_t{1} << 30;

// RAM: from zero up to the hole, and what does not fit there from 4 GiB.
inline constexpr GuestRange hole{{0xd000'0000}, 0x3000'0000};
inline constexpr GuestAddress high_ram{4 * gibibyte};
inline constexpr std::uint64_t smallest_ram = 2 * mebibyte;
/// 52 bits of guest physical address are all that x86-64 defines; a host may have fewer and says so when it maps.
inline constexpr std::uint64_t physical_address_end = std::uint64_t{1} << 52;

// The first megabyte as the memory map tells it: 0x9fc00-0x9ffff was the BIOS's data area, and 0xe0000-0xfffff its ROM,
// where guests look for ACPI's root pointer.
inline constexpr GuestRange legacy_data_area{{0x9'fc00}, 0x400};
inline constexpr GuestRange acpi_tables{{0xe'0000}, 0x2'0000};
inline constexpr GuestAddress upper_ram{1 * mebibyte};

// What the boot vCPU needs before the kernel has made its own; free for the kernel afterwards. 0x5000 (the conformance
// suite's mailbox) and 0x8000 (the built-in guest's trampoline) are left alone.
inline constexpr GuestRange boot_gdt{{0x1000}, page_size};
inline constexpr GuestRange start_info{{0x2000}, page_size};   ///< PVH: start info, module list, memory map
inline constexpr GuestRange boot_params{{0x3000}, page_size};  ///< Linux: the "zero page"
inline constexpr GuestAddress boot_stack{0x8ff0};
inline constexpr GuestRange boot_page_tables{{0x9000}, 6 * page_size};  ///< identity, first 4 GiB
inline constexpr GuestRange command_line{{0x2'0000}, 64 * kibibyte};

/// Where a bzImage's protected-mode part goes, and the lowest address that an ELF kernel may use: `himem_start`.
inline constexpr GuestAddress kernel{1 * mebibyte};

// Devices. Each virtio-mmio device has a page of its own, so that each can be mapped, trapped and logged alone.
inline constexpr GuestRange virtio_mmio{{0xd000'0000}, 16 * mebibyte};
inline constexpr std::uint64_t virtio_mmio_stride = page_size;
/// Shared memory of those devices; what has no room there goes above RAM.
inline constexpr GuestRange virtio_memory{{0xd100'0000}, 112 * mebibyte};
// PCI: where the functions of bus 0 have their BARs, and ECAM, a megabyte a bus.
inline constexpr GuestRange pci_memory{{0xd800'0000}, 128 * mebibyte};
inline constexpr GuestRange pci_ecam{{0xe000'0000}, 1 * mebibyte};
inline constexpr std::uint8_t pci_last_bus = 0;
inline constexpr std::uint16_t pci_config_port = 0xcf8;
inline constexpr std::uint16_t pci_config_ports = 8;
// A machine with firmware has a larger hole: firmware for QEMU's machines gives BARs places of its own choice, SeaBIOS
// downward from the I/O APIC, U-Boot upward from 3 GiB.
inline constexpr GuestRange firmware_hole{{0xb000'0000}, 0x5000'0000};
inline constexpr GuestRange firmware_pci_ecam{{0xb000'0000}, 1 * mebibyte};
inline constexpr GuestRange firmware_virtio_mmio{{0xb800'0000}, 16 * mebibyte};
inline constexpr GuestRange firmware_virtio_memory{{0xb900'0000}, 112 * mebibyte};
inline constexpr GuestRange firmware_pci_memory{{0xc000'0000}, 0x3ec0'0000};
inline constexpr GuestRange ioapic{{0xfec0'0000}, page_size};
inline constexpr GuestRange local_apic{{0xfee0'0000}, page_size};

// Interrupts. GSIs 0-23 are the IOAPIC's pins.
inline constexpr std::uint32_t ioapic_pins = 24;
inline constexpr std::uint32_t keyboard_gsi = 1;
inline constexpr std::uint32_t pit_gsi = 2;  ///< line 0 of the PICs
inline constexpr std::uint32_t com1_gsi = 4;
inline constexpr std::uint32_t rtc_gsi = 8;
/// In the order in which devices take them: first the pins that no ISA line shares. Further devices have to share.
inline constexpr std::array<std::uint32_t, 18> virtio_gsis{16, 17, 18, 19, 20, 21, 22, 23, 5,
                                                           6,  7,  9,  10, 11, 12, 13, 14, 15};

// Ports.
inline constexpr std::uint16_t com1_port = 0x3f8;
inline constexpr std::uint16_t com1_ports = 8;
inline constexpr std::uint16_t rtc_port = 0x70;
inline constexpr std::uint16_t rtc_ports = 2;
inline constexpr std::uint16_t debug_port = 0x402;  ///< firmware's, where QEMU has it too
inline constexpr std::uint16_t panic_port = 0x505;  ///< where QEMU has it too
inline constexpr std::uint16_t keyboard_data_port = 0x60;
inline constexpr std::uint16_t keyboard_command_port = 0x64;

// Hardware-reduced ACPI's registers, one byte each (ACPI 6.5, 4.8.3.6 and 4.8.3.7).
/// Written with `(sleep_type << 2) | sleep_enable`: sleep type `soft_off_type` powers off.
inline constexpr std::uint16_t sleep_control_port = 0x600;
/// Reads 0; writing 0x80 clears the wake status, which is never set.
inline constexpr std::uint16_t sleep_status_port = 0x601;
/// Writing `reset_value` resets the machine.
inline constexpr std::uint16_t reset_port = 0x602;
inline constexpr std::uint8_t sleep_enable = 1U << 5;
inline constexpr std::uint8_t sleep_type_shift = 2;
inline constexpr std::uint8_t sleep_type_mask = 7U << sleep_type_shift;
inline constexpr std::uint8_t soft_off_type = 5;
inline constexpr std::uint8_t reset_value = 1;

// A machine with firmware has ACPI's fixed registers, see AcpiFixedHardware, and an interrupt that never comes.
inline constexpr std::uint16_t fixed_hardware_port = 0x608;
inline constexpr std::uint32_t sci_gsi = 9;

}  // namespace trivet::vmm::layout
