// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What the loader tells (PVH hvm_start_info, version 1), copied so that low memory may be reused.
#pragma once

#include <cstddef>
#include <cstdint>

#include "text.hpp"

namespace guest {

struct MemoryRange {
  std::uint64_t address;
  std::uint64_t size;
  std::uint32_t type;  ///< as in E820: 1 is RAM
  std::uint32_t reserved;
};

struct ModuleInfo {
  std::uint64_t address;
  std::uint64_t size;
};

struct BootInfo {
  static constexpr std::size_t most_ranges = 32;
  static constexpr std::size_t most_modules = 4;

  std::uint32_t version = 0;
  Text command_line;
  MemoryRange ranges[most_ranges] = {};
  std::size_t range_count = 0;
  ModuleInfo modules[most_modules] = {};
  std::size_t module_count = 0;
  std::uint64_t rsdp = 0;

  /// Whether all of the range is RAM.
  bool is_ram(std::uint64_t address, std::uint64_t size) const;
  /// The value of `name=value` in the command line, "" for a bare `name`; false where it is not there.
  bool option(Text name, Text& value) const;
};

/// Reads the start info; false where it is not one.
bool read_boot_info(std::uint32_t address, BootInfo& info);

}  // namespace guest
