// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Source: Linux, Documentation/arch/x86/boot.rst and zero-page.rst. The setup header begins at an odd offset, so its
// fields are unaligned.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "abi/endian.hpp"

namespace trivet::vmm::abi {

inline constexpr std::size_t setup_header_offset = 0x1f1;  // in the file and in the zero page
inline constexpr std::uint16_t setup_boot_flag = 0xaa55;
inline constexpr std::uint32_t setup_magic = 0x53726448;  // "HdrS"
inline constexpr std::uint8_t setup_loaded_high = 1U << 0;
inline constexpr std::uint8_t setup_keep_segments = 1U << 6;
inline constexpr std::uint8_t setup_can_use_heap = 1U << 7;
inline constexpr std::uint16_t setup_kernel_64 = 1U << 0;       // XLF_KERNEL_64
inline constexpr std::uint16_t setup_first_version_64 = 0x20c;  // xloadflags
inline constexpr std::uint8_t setup_loader_undefined = 0xff;
inline constexpr std::uint64_t setup_entry_64 = 0x200;  // from the protected-mode part's start

struct SetupHeader {
  std::uint8_t setup_sectors;            // 0x1f1
  packed_le16 root_flags;                // 0x1f2
  packed_le32 size_16;                   // 0x1f4: the protected-mode part, in 16 bytes
  packed_le16 ram_size;                  // 0x1f8
  packed_le16 video_mode;                // 0x1fa
  packed_le16 root_device;               // 0x1fc
  packed_le16 boot_flag;                 // 0x1fe
  std::uint8_t jump;                     // 0x200
  std::uint8_t jump_length;              // 0x201: the header ends at 0x202 + this
  packed_le32 magic;                     // 0x202
  packed_le16 version;                   // 0x206
  packed_le32 realmode_switch;           // 0x208
  packed_le16 start_segment;             // 0x20c
  packed_le16 kernel_version;            // 0x20e
  std::uint8_t loader_type;              // 0x210
  std::uint8_t load_flags;               // 0x211
  packed_le16 move_size;                 // 0x212
  packed_le32 code32_start;              // 0x214
  packed_le32 initrd_address;            // 0x218
  packed_le32 initrd_size;               // 0x21c
  packed_le32 bootsect_kludge;           // 0x220
  packed_le16 heap_end;                  // 0x224
  std::uint8_t extended_loader_version;  // 0x226
  std::uint8_t extended_loader_type;     // 0x227
  packed_le32 command_line;              // 0x228
  packed_le32 initrd_last;               // 0x22c: the highest address an initial RAM disk may occupy
  packed_le32 alignment;                 // 0x230
  std::uint8_t relocatable;              // 0x234
  std::uint8_t minimum_alignment;        // 0x235
  packed_le16 extended_load_flags;       // 0x236
  packed_le32 command_line_size;         // 0x238, without the closing zero
  packed_le32 hardware_subarch;          // 0x23c
  packed_le64 hardware_subarch_data;     // 0x240
  packed_le32 payload_offset;            // 0x248, in the protected-mode part
  packed_le32 payload_size;              // 0x24c
  packed_le64 setup_data;                // 0x250
  packed_le64 preferred_address;         // 0x258
  packed_le32 needed_size;               // 0x260: init_size
  packed_le32 handover_offset;           // 0x264
  packed_le32 kernel_info_offset;        // 0x268
};
static_assert(sizeof(SetupHeader) == 0x26c - setup_header_offset);
static_assert(offsetof(SetupHeader, magic) == 0x202 - setup_header_offset);
static_assert(offsetof(SetupHeader, code32_start) == 0x214 - setup_header_offset);
static_assert(offsetof(SetupHeader, command_line) == 0x228 - setup_header_offset);
static_assert(offsetof(SetupHeader, extended_load_flags) == 0x236 - setup_header_offset);
static_assert(offsetof(SetupHeader, payload_offset) == 0x248 - setup_header_offset);
static_assert(offsetof(SetupHeader, needed_size) == 0x260 - setup_header_offset);

struct E820Entry {
  packed_le64 address;  // 0
  packed_le64 size;     // 8
  packed_le32 type;     // 16
};
static_assert(sizeof(E820Entry) == 20);

struct BootParams {
  std::array<std::uint8_t, 0x70> screen_and_more;    // 0x000
  le64 acpi_rsdp;                                    // 0x070
  std::array<std::uint8_t, 0x0c0 - 0x078> pad_078;   // 0x078
  le32 initrd_address_high;                          // 0x0c0
  le32 initrd_size_high;                             // 0x0c4
  le32 command_line_high;                            // 0x0c8
  std::array<std::uint8_t, 0x1e8 - 0x0cc> pad_0cc;   // 0x0cc
  std::uint8_t e820_entries;                         // 0x1e8
  std::array<std::uint8_t, 0x1f1 - 0x1e9> pad_1e9;   // 0x1e9, with the sentinel at 0x1ef
  SetupHeader header;                                // 0x1f1
  std::array<std::uint8_t, 0x2d0 - 0x26c> pad_26c;   // 0x26c
  std::array<E820Entry, 128> e820;                   // 0x2d0
  std::array<std::uint8_t, 0x1000 - 0xcd0> pad_cd0;  // 0xcd0
};
static_assert(sizeof(BootParams) == 0x1000);
static_assert(offsetof(BootParams, acpi_rsdp) == 0x070);
static_assert(offsetof(BootParams, initrd_address_high) == 0x0c0);
static_assert(offsetof(BootParams, e820_entries) == 0x1e8);
static_assert(offsetof(BootParams, header) == 0x1f1);
static_assert(offsetof(BootParams, e820) == 0x2d0);

}  // namespace trivet::vmm::abi
