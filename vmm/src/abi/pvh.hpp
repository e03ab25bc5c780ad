// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Source: xen/include/public/arch-x86/hvm/start_info.h, version 1.
#pragma once

#include <cstddef>
#include <cstdint>

#include "abi/endian.hpp"

namespace trivet::vmm::abi {

inline constexpr std::uint32_t hvm_start_magic = 0x336ec578;  // "xEn3", bit 31 set
inline constexpr std::uint32_t hvm_start_version = 1;

struct HvmStartInfo {
  le32 magic;               // 0
  le32 version;             // 4
  le32 flags;               // 8
  le32 module_count;        // 12
  le64 modules;             // 16
  le64 command_line;        // 24
  le64 rsdp;                // 32
  le64 memory_map;          // 40
  le32 memory_map_entries;  // 48
  le32 reserved;            // 52
};
static_assert(sizeof(HvmStartInfo) == 56);
static_assert(offsetof(HvmStartInfo, rsdp) == 32);
static_assert(offsetof(HvmStartInfo, memory_map_entries) == 48);

struct HvmModule {
  le64 address;       // 0
  le64 size;          // 8
  le64 command_line;  // 16
  le64 reserved;      // 24
};
static_assert(sizeof(HvmModule) == 32);

struct HvmMemoryMapEntry {
  le64 address;   // 0
  le64 size;      // 8
  le32 type;      // 16
  le32 reserved;  // 20
};
static_assert(sizeof(HvmMemoryMapEntry) == 24);

}  // namespace trivet::vmm::abi
