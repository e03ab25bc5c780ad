// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Source: ACPI Specification 6.4, chapter 5. Some fields are misaligned by the specification.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "abi/endian.hpp"

namespace trivet::vmm::abi {

using AcpiSignature = std::array<char, 4>;

// 5.2.5.3
struct AcpiRootPointer {
  std::array<char, 8> signature;         // 0
  std::uint8_t checksum;                 // 8, of the first 20 bytes
  std::array<char, 6> oem_id;            // 9
  std::uint8_t revision;                 // 15
  le32 rsdt;                             // 16
  le32 length;                           // 20
  le64 xsdt;                             // 24
  std::uint8_t extended_checksum;        // 32
  std::array<std::uint8_t, 7> reserved;  // 33; only three belong to the structure
};
inline constexpr std::size_t acpi_root_pointer_size = 36;
inline constexpr std::size_t acpi_root_pointer_first_size = 20;
static_assert(sizeof(AcpiRootPointer) == 40);
static_assert(offsetof(AcpiRootPointer, xsdt) == 24);
static_assert(offsetof(AcpiRootPointer, extended_checksum) == 32);

// 5.2.6
struct AcpiHeader {
  AcpiSignature signature;           // 0
  le32 length;                       // 4
  std::uint8_t revision;             // 8
  std::uint8_t checksum;             // 9
  std::array<char, 6> oem_id;        // 10
  std::array<char, 8> oem_table_id;  // 16
  le32 oem_revision;                 // 24
  std::array<char, 4> creator_id;    // 28
  le32 creator_revision;             // 32
};
static_assert(sizeof(AcpiHeader) == 36);
static_assert(offsetof(AcpiHeader, oem_table_id) == 16);

inline constexpr std::uint8_t acpi_space_io = 1;
inline constexpr std::uint8_t acpi_access_byte = 1;

// 5.2.3.2
struct AcpiGenericAddress {
  std::uint8_t space;        // 0
  std::uint8_t bit_width;    // 1
  std::uint8_t bit_offset;   // 2
  std::uint8_t access_size;  // 3
  packed_le64 address;       // 4
};
static_assert(sizeof(AcpiGenericAddress) == 12);

// 5.2.9, as far as our platforms use it: the rest is zero.
struct AcpiFixedTable {
  AcpiHeader header;                               // 0
  le32 firmware_control;                           // 36
  le32 dsdt;                                       // 40
  std::array<std::uint8_t, 2> unused_44;           // 44
  le16 sci;                                        // 46
  std::array<std::uint8_t, 8> unused_48;           // 48
  le32 pm1a_event;                                 // 56: from here on not if hardware-reduced
  le32 pm1b_event;                                 // 60
  le32 pm1a_control;                               // 64
  std::array<std::uint8_t, 8> unused_68;           // 68
  le32 pm_timer;                                   // 76
  std::array<std::uint8_t, 8> unused_80;           // 80
  std::uint8_t pm1_event_length;                   // 88
  std::uint8_t pm1_control_length;                 // 89
  std::uint8_t pm2_control_length;                 // 90
  std::uint8_t pm_timer_length;                    // 91
  std::array<std::uint8_t, 4> unused_92;           // 92
  le16 c2_latency;                                 // 96
  le16 c3_latency;                                 // 98
  std::array<std::uint8_t, 8> unused_100;          // 100
  std::uint8_t century;                            // 108: where the clock has it
  packed_le16 boot_architecture;                   // 109: IA-PC boot flags
  std::uint8_t reserved_111;                       // 111
  le32 flags;                                      // 112
  AcpiGenericAddress reset_register;               // 116
  std::uint8_t reset_value;                        // 128
  packed_le16 arm_boot_architecture;               // 129
  std::uint8_t minor_version;                      // 131
  packed_le64 extended_firmware_control;           // 132
  packed_le64 extended_dsdt;                       // 140
  std::array<AcpiGenericAddress, 8> fixed_blocks;  // 148: none on such a platform
  AcpiGenericAddress sleep_control;                // 244
  AcpiGenericAddress sleep_status;                 // 256
  std::array<char, 8> hypervisor;                  // 268
};
static_assert(sizeof(AcpiFixedTable) == 276);
static_assert(offsetof(AcpiFixedTable, sci) == 46);
static_assert(offsetof(AcpiFixedTable, pm_timer) == 76);
static_assert(offsetof(AcpiFixedTable, c2_latency) == 96);
static_assert(offsetof(AcpiFixedTable, boot_architecture) == 109);
static_assert(offsetof(AcpiFixedTable, flags) == 112);
static_assert(offsetof(AcpiFixedTable, reset_register) == 116);
static_assert(offsetof(AcpiFixedTable, minor_version) == 131);
static_assert(offsetof(AcpiFixedTable, extended_dsdt) == 140);
static_assert(offsetof(AcpiFixedTable, sleep_control) == 244);
static_assert(offsetof(AcpiFixedTable, hypervisor) == 268);

// Fixed feature flags, table 5.10.
inline constexpr std::uint32_t acpi_flag_wbinvd = 1U << 0;
inline constexpr std::uint32_t acpi_flag_no_fixed_power_button = 1U << 4;
inline constexpr std::uint32_t acpi_flag_no_fixed_sleep_button = 1U << 5;
inline constexpr std::uint32_t acpi_flag_reset_register = 1U << 10;
inline constexpr std::uint32_t acpi_flag_hardware_reduced = 1U << 20;

// IA-PC boot architecture flags, table 5.11.
inline constexpr std::uint16_t acpi_boot_legacy_devices = 1U << 0;
inline constexpr std::uint16_t acpi_boot_8042 = 1U << 1;
inline constexpr std::uint16_t acpi_boot_no_vga = 1U << 2;
inline constexpr std::uint16_t acpi_boot_no_cmos_rtc = 1U << 5;

// 5.2.12
struct AcpiMadt {
  AcpiHeader header;  // 0
  le32 local_apic;    // 36
  le32 flags;         // 40
};
static_assert(sizeof(AcpiMadt) == 44);
inline constexpr std::uint32_t madt_pcat_compatible = 1U << 0;
inline constexpr std::uint32_t madt_enabled = 1U << 0;

// PCI Firmware Specification 3.2, 4.1.2: one allocation.
struct AcpiMcfg {
  AcpiHeader header;        // 0
  packed_le64 reserved;     // 36
  packed_le64 base;         // 44: of bus 0, whether it is among these or not
  le16 segment;             // 52
  std::uint8_t first_bus;   // 54
  std::uint8_t last_bus;    // 55
  packed_le32 reserved_56;  // 56
};
static_assert(sizeof(AcpiMcfg) == 60);
static_assert(offsetof(AcpiMcfg, base) == 44);
static_assert(offsetof(AcpiMcfg, segment) == 52);

// 5.2.12.2
struct MadtLocalApic {
  std::uint8_t type;           // 0
  std::uint8_t length;         // 1
  std::uint8_t processor_uid;  // 2
  std::uint8_t apic_id;        // 3
  le32 flags;                  // 4
};
static_assert(sizeof(MadtLocalApic) == 8);
inline constexpr std::uint8_t madt_local_apic = 0;

// 5.2.12.3
struct MadtIoApic {
  std::uint8_t type;      // 0
  std::uint8_t length;    // 1
  std::uint8_t id;        // 2
  std::uint8_t reserved;  // 3
  le32 address;           // 4
  le32 first_gsi;         // 8
};
static_assert(sizeof(MadtIoApic) == 12);
inline constexpr std::uint8_t madt_io_apic = 1;

// 5.2.12.5
struct MadtSourceOverride {
  std::uint8_t type;    // 0
  std::uint8_t length;  // 1
  std::uint8_t bus;     // 2: 0 is ISA
  std::uint8_t source;  // 3
  le32 gsi;             // 4
  le16 flags;           // 8: 0 is as the bus has it
};
inline constexpr std::size_t madt_source_override_size = 10;
static_assert(offsetof(MadtSourceOverride, flags) == 8);
inline constexpr std::uint8_t madt_source_override = 2;

// 5.2.12.12
struct MadtLocalX2Apic {
  std::uint8_t type;    // 0
  std::uint8_t length;  // 1
  le16 reserved;        // 2
  le32 apic_id;         // 4
  le32 flags;           // 8
  le32 processor_uid;   // 12
};
static_assert(sizeof(MadtLocalX2Apic) == 16);
inline constexpr std::uint8_t madt_local_x2apic = 9;

}  // namespace trivet::vmm::abi
