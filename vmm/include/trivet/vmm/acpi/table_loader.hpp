// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <vector>

#include <trivet/core/result.hpp>
#include <trivet/vmm/platform_info.hpp>

namespace trivet::vmm {

/// ACPI tables for firmware that puts them where it likes: their bytes, with pointers counted from the start of
/// `tables`, and the script by which firmware places them and mends pointers and checksums.
struct LoadableTables {
  std::vector<std::byte> rsdp;    ///< the file etc/acpi/rsdp
  std::vector<std::byte> tables;  ///< the file etc/acpi/tables
  std::vector<std::byte> script;  ///< the file etc/table-loader
};

/// The tables of `acpi_tables`, and its errors. Any thread.
/// Source: QEMU, hw/acpi/bios-linker-loader.c.
Result<LoadableTables> loadable_acpi_tables(const PlatformInfo& platform);

}  // namespace trivet::vmm
