// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "boot_info.hpp"

#include "cpu.hpp"

namespace guest {
namespace {

constexpr std::uint32_t start_info_magic = 0x336ec578;
constexpr std::size_t most_characters = 2048;

char command_line[most_characters];

// hvm_start_info, xen/include/public/arch-x86/hvm/start_info.h
struct StartInfo {
  std::uint32_t magic;
  std::uint32_t version;
  std::uint32_t flags;
  std::uint32_t module_count;
  std::uint64_t modules;
  std::uint64_t command_line;
  std::uint64_t rsdp;
  std::uint64_t memory_map;
  std::uint32_t memory_map_entries;
  std::uint32_t reserved;
};
static_assert(sizeof(StartInfo) == 56);

struct StartModule {
  std::uint64_t address;
  std::uint64_t size;
  std::uint64_t command_line;
  std::uint64_t reserved;
};

template <typename Struct>
const Struct* at(std::uint64_t address) {
  return reinterpret_cast<const Struct*>(address);
}

}  // namespace

bool read_boot_info(std::uint32_t address, BootInfo& info) {
  const auto* start = at<StartInfo>(address);
  if (address == 0 || start->magic != start_info_magic) return false;
  info.version = start->version;
  info.rsdp = start->rsdp;
  if (start->command_line != 0) {
    const char* from = at<char>(start->command_line);
    std::size_t size = 0;
    while (size + 1 < most_characters && from[size] != 0) {
      command_line[size] = from[size];
      ++size;
    }
    info.command_line = {command_line, size};
  }
  for (std::uint32_t i = 0; i < start->module_count && i < BootInfo::most_modules; ++i) {
    const auto& module = at<StartModule>(start->modules)[i];
    info.modules[info.module_count++] = {module.address, module.size};
  }
  if (start->version == 0) return true;
  for (std::uint32_t i = 0; i < start->memory_map_entries && i < BootInfo::most_ranges; ++i) {
    info.ranges[info.range_count++] = at<MemoryRange>(start->memory_map)[i];
  }
  return true;
}

bool BootInfo::is_ram(std::uint64_t address, std::uint64_t size) const {
  for (std::size_t i = 0; i < range_count; ++i) {
    const auto& range = ranges[i];
    if (range.type == 1 && address >= range.address && address + size <= range.address + range.size) return true;
  }
  return false;
}

bool BootInfo::option(Text name, Text& value) const {
  const char* text = command_line.data;
  const char* end = text + command_line.size;
  while (text != end) {
    if (*text == ' ') {
      ++text;
      continue;
    }
    const char* word = text;
    while (text != end && *text != ' ') ++text;
    const char* equals = word;
    while (equals != text && *equals != '=') ++equals;
    if (!(Text{word, static_cast<std::size_t>(equals - word)} == name)) continue;
    value = equals == text ? Text{} : Text{equals + 1, static_cast<std::size_t>(text - equals - 1)};
    return true;
  }
  return false;
}

}  // namespace guest
