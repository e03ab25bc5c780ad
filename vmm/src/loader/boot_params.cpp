// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstring>
#include <fmt/format.h>

#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/loader/boot_info.hpp>

#include "abi/linux_boot.hpp"

namespace trivet::vmm {
namespace {

constexpr std::uint16_t version_of_elf = 0x20c;  // what an ELF is told it was loaded by
constexpr std::uint32_t alignment_of_elf = 16 * layout::mebibyte;

constexpr std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
constexpr std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}

void fill_header(abi::SetupHeader& header, const BzImage* kernel) {
  if (kernel != nullptr) {
    static_assert(sizeof(kernel->setup_header) == sizeof(header));
    std::memcpy(&header, kernel->setup_header.data(), sizeof(header));
  } else {
    header.boot_flag = abi::setup_boot_flag;
    header.magic = abi::setup_magic;
    header.version = version_of_elf;
    header.alignment = alignment_of_elf;
    header.load_flags = abi::setup_loaded_high;
  }
  header.loader_type = abi::setup_loader_undefined;
  header.extended_loader_type = 0;
  header.extended_loader_version = 0;
  // There is no heap for the real-mode part, which never runs.
  header.load_flags = static_cast<std::uint8_t>(header.load_flags & ~abi::setup_can_use_heap);
  header.setup_data = 0;
}

}  // namespace

Result<void> write_boot_params(const memory::GuestMemory& memory, const BootInfo& info, const BzImage* kernel) {
  abi::BootParams params{};
  if (info.memory_map.size() > params.e820.size()) {
    return Error(Errc::limit, "write boot_params",
                 fmt::format("{} memory map entries; at most {} fit", info.memory_map.size(), params.e820.size()));
  }
  fill_header(params.header, kernel);
  const auto line = layout::command_line.start.value;
  params.header.command_line = low(line);
  params.command_line_high = high(line);
  if (kernel == nullptr) params.header.command_line_size = static_cast<std::uint32_t>(info.command_line.size());
  if (info.initrd) {
    params.header.initrd_address = low(info.initrd->start.value);
    params.initrd_address_high = high(info.initrd->start.value);
    params.header.initrd_size = low(info.initrd->size);
    params.initrd_size_high = high(info.initrd->size);
  }
  if (info.rsdp) params.acpi_rsdp = info.rsdp->value;
  for (std::size_t i = 0; i < info.memory_map.size(); ++i) {
    params.e820[i].address = info.memory_map[i].range.start.value;
    params.e820[i].size = info.memory_map[i].range.size;
    params.e820[i].type = static_cast<std::uint32_t>(info.memory_map[i].type);
  }
  params.e820_entries = static_cast<std::uint8_t>(info.memory_map.size());
  return memory.write_object(layout::boot_params.start, params);
}

}  // namespace trivet::vmm
