// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <fmt/format.h>

#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/loader/boot_info.hpp>

#include "abi/pvh.hpp"

namespace trivet::vmm {
namespace {

constexpr GuestAddress modules{layout::start_info.start.value + 0x80};
constexpr GuestAddress memory_map_at{layout::start_info.start.value + 0x100};
constexpr std::size_t most_entries =
    (layout::start_info.size - (memory_map_at.value - layout::start_info.start.value)) / sizeof(abi::HvmMemoryMapEntry);

}  // namespace

Result<void> write_command_line(const memory::GuestMemory& memory, std::string_view text) {
  if (text.size() >= layout::command_line.size) {
    return Error(Errc::limit, "write command line",
                 fmt::format("{} characters; at most {} fit", text.size(), layout::command_line.size - 1));
  }
  const auto at = layout::command_line.start;
  TRIVET_TRY(memory.write(at, std::as_bytes(std::span(text))));
  return memory.write_object(*at.plus(text.size()), '\0');
}

Result<void> write_start_info(const memory::GuestMemory& memory, const BootInfo& info) {
  if (info.memory_map.size() > most_entries) {
    return Error(Errc::limit, "write PVH start info",
                 fmt::format("{} memory map entries; at most {} fit", info.memory_map.size(), most_entries));
  }
  auto at = memory_map_at;
  for (const auto& entry : info.memory_map) {
    abi::HvmMemoryMapEntry out{};
    out.address = entry.range.start.value;
    out.size = entry.range.size;
    out.type = static_cast<std::uint32_t>(entry.type);
    TRIVET_TRY(memory.write_object(at, out));
    at.value += sizeof(out);
  }
  abi::HvmStartInfo start{};
  start.magic = abi::hvm_start_magic;
  start.version = abi::hvm_start_version;
  start.command_line = layout::command_line.start.value;
  start.rsdp = info.rsdp ? info.rsdp->value : 0;
  start.memory_map = memory_map_at.value;
  start.memory_map_entries = static_cast<std::uint32_t>(info.memory_map.size());
  if (info.initrd) {
    abi::HvmModule module{};
    module.address = info.initrd->start.value;
    module.size = info.initrd->size;
    TRIVET_TRY(memory.write_object(modules, module));
    start.modules = modules.value;
    start.module_count = 1;
  }
  return memory.write_object(layout::start_info.start, start);
}

}  // namespace trivet::vmm
