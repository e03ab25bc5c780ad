// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <fmt/format.h>

#include <trivet/vmm/acpi/acpi_tables.hpp>
#include <trivet/vmm/loader/boot_info.hpp>
#include <trivet/vmm/loader/boot_x86_64.hpp>
#include <trivet/vmm/loader/initrd.hpp>
#include <trivet/vmm/loader/memory_map.hpp>

namespace trivet::vmm {
namespace {

constexpr auto operation = "load guest";

Result<void> check_memory(const memory::GuestMemory& memory, std::span<const GuestRange> ram) {
  for (const auto& range : ram) {
    if (memory.contains(range)) continue;
    return Error(Errc::invalid_argument, operation,
                 fmt::format("RAM of {:#x} bytes at {:#x} is told but not all there", range.size, range.start.value));
  }
  return {};
}

Result<void> check_command_line(const BootSource& source) {
  const auto size = source.command_line.size();
  const auto limit = source.kernel.command_line_limit();
  if (size <= limit) return {};
  return Error(Errc::limit, operation,
               fmt::format("command line of {} characters; {} takes at most {}", size, source.kernel.name(), limit));
}

Result<GuestAddress> write_acpi(const memory::GuestMemory& memory, const PlatformInfo& platform) {
  TRIVET_ASSIGN(const auto tables, acpi_tables(platform, layout::acpi_tables));
  TRIVET_TRY(memory.write(layout::acpi_tables.start, tables.bytes));
  return tables.rsdp;
}

}  // namespace

Result<BootState> load_boot(const BootSource& source, const memory::GuestMemory& memory, const PlatformInfo& platform) {
  TRIVET_ASSIGN(const auto ram, ram_ranges(platform.ram_bytes));
  TRIVET_ASSIGN(const auto map, memory_map(platform.ram_bytes));
  TRIVET_TRY(check_memory(memory, ram));
  TRIVET_TRY(check_command_line(source));

  BootState state;
  const auto protocol = source.protocol.value_or(source.kernel.protocol());
  TRIVET_ASSIGN(const auto kernel, source.kernel.load(memory, source.load_address, protocol, source.fresh_memory));
  state.protocol = kernel.protocol;
  state.entry = kernel.entry;
  state.kernel = kernel.extent;
  if (source.initrd) {
    TRIVET_ASSIGN(state.initrd,
                  load_initrd(*source.initrd, memory, ram.front(), kernel.extent, source.kernel.initrd_last()));
  }
  if (platform.acpi) {
    TRIVET_ASSIGN(state.rsdp, write_acpi(memory, platform));
  }
  const auto command_line = source.command_line.text();
  TRIVET_TRY(write_command_line(memory, command_line));
  const BootInfo info{map, command_line, state.initrd, state.rsdp};
  if (protocol == BootProtocol::pvh) {
    TRIVET_TRY(write_start_info(memory, info));
    state.registers = pvh_registers(kernel.entry, layout::start_info.start);
  } else {
    TRIVET_TRY(write_long_mode_tables(memory));
    TRIVET_TRY(write_boot_params(memory, info, std::get_if<BzImage>(&source.kernel.format())));
    state.registers = linux_64_registers(kernel.entry, layout::boot_params.start);
  }
  return state;
}

}  // namespace trivet::vmm
