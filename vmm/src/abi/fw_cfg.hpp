// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Source: QEMU, docs/specs/fw_cfg; the loader's script: QEMU, hw/acpi/bios-linker-loader.c.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <boost/endian/buffers.hpp>

#include "abi/endian.hpp"

namespace trivet::vmm::abi {

using be16 = boost::endian::big_uint16_buf_at;
using be32 = boost::endian::big_uint32_buf_at;
using be64 = boost::endian::big_uint64_buf_at;

// Items with a number of their own; files are numbered from `fw_cfg_first_file` on.
inline constexpr std::uint16_t fw_cfg_signature = 0x0000;
inline constexpr std::uint16_t fw_cfg_id = 0x0001;
inline constexpr std::uint16_t fw_cfg_ram_size = 0x0003;
inline constexpr std::uint16_t fw_cfg_cpus = 0x0005;
inline constexpr std::uint16_t fw_cfg_boot_menu = 0x000e;
inline constexpr std::uint16_t fw_cfg_max_cpus = 0x000f;
inline constexpr std::uint16_t fw_cfg_directory = 0x0019;
inline constexpr std::uint16_t fw_cfg_first_file = 0x0020;
inline constexpr std::uint16_t fw_cfg_irq0_override = 0x8002;  // x86

inline constexpr std::uint32_t fw_cfg_id_traditional = 1U << 0;
inline constexpr std::uint32_t fw_cfg_id_dma = 1U << 1;

inline constexpr std::size_t fw_cfg_name_size = 56;  // with its NUL

struct FwCfgFile {
  be32 size;                                // 0
  be16 key;                                 // 4
  be16 reserved;                            // 6
  std::array<char, fw_cfg_name_size> name;  // 8
};
static_assert(sizeof(FwCfgFile) == 64);
static_assert(offsetof(FwCfgFile, name) == 8);

struct FwCfgDma {
  be32 control;  // 0: the key in the upper half when it selects
  be32 length;   // 4
  be64 address;  // 8
};
static_assert(sizeof(FwCfgDma) == 16);
static_assert(offsetof(FwCfgDma, address) == 8);
inline constexpr std::uint32_t fw_cfg_dma_error = 1U << 0;
inline constexpr std::uint32_t fw_cfg_dma_read = 1U << 1;
inline constexpr std::uint32_t fw_cfg_dma_skip = 1U << 2;
inline constexpr std::uint32_t fw_cfg_dma_select = 1U << 3;
inline constexpr std::uint32_t fw_cfg_dma_write = 1U << 4;

// etc/e820
struct FwCfgE820 {
  packed_le64 address;  // 0
  packed_le64 size;     // 8
  packed_le32 type;     // 16
};
static_assert(sizeof(FwCfgE820) == 20);

// etc/table-loader: one step of its script, padded to the same size.
inline constexpr std::uint32_t loader_allocate = 1;
inline constexpr std::uint32_t loader_add_pointer = 2;
inline constexpr std::uint32_t loader_add_checksum = 3;
inline constexpr std::uint8_t loader_zone_high = 1;
inline constexpr std::uint8_t loader_zone_bios = 2;  // 0xf0000 to 0xfffff

using LoaderName = std::array<char, fw_cfg_name_size>;

struct LoaderAllocate {
  le32 command;                         // 0
  LoaderName file;                      // 4
  packed_le32 alignment;                // 60
  std::uint8_t zone;                    // 64
  std::array<std::uint8_t, 63> unused;  // 65
};
static_assert(sizeof(LoaderAllocate) == 128);
static_assert(offsetof(LoaderAllocate, zone) == 64);

struct LoaderAddPointer {
  le32 command;                        // 0
  LoaderName file;                     // 4: which has the pointer
  LoaderName target;                   // 60: into which it leads
  packed_le32 offset;                  // 116
  std::uint8_t size;                   // 120
  std::array<std::uint8_t, 7> unused;  // 121
};
static_assert(sizeof(LoaderAddPointer) == 128);
static_assert(offsetof(LoaderAddPointer, offset) == 116);

struct LoaderAddChecksum {
  le32 command;                         // 0
  LoaderName file;                      // 4
  packed_le32 offset;                   // 60
  packed_le32 start;                    // 64
  packed_le32 length;                   // 68
  std::array<std::uint8_t, 56> unused;  // 72
};
static_assert(sizeof(LoaderAddChecksum) == 128);
static_assert(offsetof(LoaderAddChecksum, length) == 68);

}  // namespace trivet::vmm::abi
