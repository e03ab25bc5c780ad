// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/vmm/layout_x86_64.hpp>

namespace trivet::vmm {

/// What a range of guest physical memory is for. Source: ACPI 6.5, table 15.8 (the numbers of E820 and of PVH).
enum class MemoryType : std::uint32_t { ram = 1, reserved = 2, acpi = 3, acpi_nvs = 4, unusable = 5 };

/// One range of the memory map that the guest is told (e820).
struct MemoryMapEntry {
  GuestRange range;
  MemoryType type = MemoryType::ram;

  friend bool operator==(const MemoryMapEntry&, const MemoryMapEntry&) = default;
};

/// Where `bytes` of RAM lie: from zero up to the hole, which ends at 4 GiB, and the rest from there. One range or two.
/// `invalid_argument` (caller): less than 2 MiB, not whole pages, or more than 52 bits of address reach.
/// Any thread.
Result<std::vector<GuestRange>> ram_ranges(std::uint64_t bytes, const GuestRange& hole = layout::hole);

/// What the guest is told about `bytes` of RAM, sorted, without overlaps: RAM, and in the first megabyte what it must
/// leave alone. Errors as `ram_ranges`. Any thread.
Result<std::vector<MemoryMapEntry>> memory_map(std::uint64_t bytes);

}  // namespace trivet::vmm
