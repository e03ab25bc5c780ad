// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>

#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/loader/memory_map.hpp>

namespace trivet::vmm {

Result<std::vector<GuestRange>> ram_ranges(std::uint64_t bytes, const GuestRange& hole) {
  constexpr auto operation = "lay out guest memory";
  if (bytes < layout::smallest_ram) {
    return Error(
        Errc::invalid_argument, operation,
        fmt::format("{} bytes of RAM; at least {} MiB are needed", bytes, layout::smallest_ram / layout::mebibyte));
  }
  if (bytes % layout::page_size != 0) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("{} bytes of RAM is not a multiple of {} bytes", bytes, layout::page_size));
  }
  const auto low = std::min(bytes, hole.start.value);
  const auto high = bytes - low;
  if (high > layout::physical_address_end - layout::high_ram.value) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("{} GiB of RAM is more than 52 address bits reach", bytes / layout::gibibyte));
  }
  std::vector<GuestRange> ranges{{{0}, low}};
  if (high != 0) ranges.push_back({layout::high_ram, high});
  return ranges;
}

Result<std::vector<MemoryMapEntry>> memory_map(std::uint64_t bytes) {
  TRIVET_ASSIGN(const auto ram, ram_ranges(bytes));
  std::vector<MemoryMapEntry> map{
      {{{0}, layout::legacy_data_area.start.value}, MemoryType::ram},
      {layout::legacy_data_area, MemoryType::reserved},
      {layout::acpi_tables, MemoryType::reserved},
      {{layout::upper_ram, ram.front().size - layout::upper_ram.value}, MemoryType::ram},
  };
  if (ram.size() > 1) map.push_back({ram.back(), MemoryType::ram});
  return map;
}

}  // namespace trivet::vmm
