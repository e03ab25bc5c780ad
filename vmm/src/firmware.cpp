// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "firmware.hpp"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

#include <trivet/memory/mapping.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/vmm/acpi/table_loader.hpp>
#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/loader/memory_map.hpp>

#include "abi/fw_cfg.hpp"

namespace trivet::vmm {
namespace {

// What a chipset can shadow. A BIOS that fills it expects all of itself there; of anything larger, only its end.
constexpr std::uint64_t most_shadow = 256 * layout::kibibyte;
constexpr std::uint64_t usual_shadow = 128 * layout::kibibyte;

template <class Field>
std::vector<std::byte> bytes_of(const Field& field) {
  const auto bytes = std::as_bytes(std::span(&field, 1));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> little16(std::size_t value) {
  abi::le16 field;
  field = static_cast<std::uint16_t>(value);
  return bytes_of(field);
}

std::vector<std::byte> little64(std::uint64_t value) {
  abi::le64 field;
  field = value;
  return bytes_of(field);
}

std::vector<std::byte> e820_of(std::span<const GuestRange> ram, const PlatformInfo& platform) {
  std::vector<std::byte> bytes;
  const auto add = [&](const GuestRange& range, MemoryType type) {
    abi::FwCfgE820 entry{};
    entry.address = range.start.value;
    entry.size = range.size;
    entry.type = static_cast<std::uint32_t>(type);
    const auto more = bytes_of(entry);
    bytes.insert(bytes.end(), more.begin(), more.end());
  };
  for (const auto& range : ram) add(range, MemoryType::ram);
  if (platform.pci) add(platform.pci->ecam, MemoryType::reserved);
  return bytes;
}

}  // namespace

Result<Firmware> Firmware::open(const std::string& path) {
  constexpr auto operation = "open firmware";
  TRIVET_ASSIGN(auto image, Image::open(path));
  if (image.size() % layout::page_size != 0 || image.size() > most) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("{} has {} bytes; a ROM image is a multiple of {} and at most {} MiB", path, image.size(),
                             layout::page_size, most / layout::mebibyte));
  }
  return Firmware(std::move(image));
}

GuestRange Firmware::range() const noexcept {
  return {{4 * layout::gibibyte - image_.size()}, image_.size()};
}

Result<void> Firmware::map(Vm& vm, const Hypervisor& hypervisor, memory::MemoryMap& memory) const {
  const auto has = [&](Cap cap) { return hypervisor.supports(cap) != Support::no; };
  const auto access = has(Cap::read_only_memory) && has(Cap::read_only_code) ? Access::read_only : Access::read_write;
  const auto at = range();
  const auto size = static_cast<std::size_t>(at.size);
  std::shared_ptr<const memory::Region> region;
  if (has(Cap::host_memory)) {
    TRIVET_ASSIGN(auto mapping, memory::Mapping::anonymous(at.size));
    TRIVET_TRY(image_.read(0, {mapping.data(), size}));
    TRIVET_TRY(vm.map({at, HostMemory{mapping.data()}, access}));
    TRIVET_ASSIGN(region, memory::Region::create(at.start, std::move(mapping), {access}));
  } else {
    TRIVET_ASSIGN(const auto mapped, vm.map({at, HypervisorMemory{}, access}));
    TRIVET_TRY(image_.read(0, {mapped.host, size}));
    TRIVET_ASSIGN(region, memory::Region::create(mapped));
  }
  TRIVET_TRY(memory.insert(std::move(region)));

  std::vector<std::byte> shadow(static_cast<std::size_t>(at.size <= most_shadow ? at.size : usual_shadow));
  TRIVET_TRY(image_.read(at.size - shadow.size(), shadow));
  return memory.snapshot()->write({layout::mebibyte - shadow.size()}, shadow);
}

Result<void> describe_machine(FwCfg& to, const PlatformInfo& platform) {
  TRIVET_ASSIGN(const auto ram, ram_ranges(platform.ram_bytes, layout::firmware_hole));
  TRIVET_ASSIGN(auto acpi, loadable_acpi_tables(platform));
  TRIVET_TRY(to.add(abi::fw_cfg_ram_size, little64(platform.ram_bytes)));
  TRIVET_TRY(to.add(abi::fw_cfg_cpus, little16(platform.apic_ids.size())));
  TRIVET_TRY(to.add(abi::fw_cfg_max_cpus, little16(platform.apic_ids.size())));
  TRIVET_TRY(to.add(abi::fw_cfg_boot_menu, little16(0)));
  TRIVET_TRY(to.add(abi::fw_cfg_irq0_override, {std::byte{1}}));
  TRIVET_TRY(to.add_file("etc/e820", e820_of(ram, platform)));
  TRIVET_TRY(to.add_file("etc/acpi/rsdp", std::move(acpi.rsdp)));
  TRIVET_TRY(to.add_file("etc/acpi/tables", std::move(acpi.tables)));
  TRIVET_TRY(to.add_file("etc/table-loader", std::move(acpi.script)));
  return to.add_file("etc/sercon-port", little64(layout::com1_port));
}

Result<void> describe_machine(Rtc& to, const PlatformInfo& platform) {
  constexpr std::uint64_t unit = 64 * layout::kibibyte;
  constexpr std::uint64_t least_extended = 16 * layout::mebibyte;
  TRIVET_ASSIGN(const auto ram, ram_ranges(platform.ram_bytes, layout::firmware_hole));
  const auto set = [&to](std::uint8_t first, std::uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) {
      to.set_memory(static_cast<std::uint8_t>(first + i), static_cast<std::uint8_t>(value >> 8 * i));
    }
  };
  const auto low = ram.front().size;
  const auto extended = std::min<std::uint64_t>((low - layout::mebibyte) / layout::kibibyte, 0xffff);
  set(0x15, 640, 2);       // KiB below 1 MiB
  set(0x17, extended, 2);  // KiB above it, twice
  set(0x30, extended, 2);
  set(0x34, low > least_extended ? (low - least_extended) / unit : 0, 2);
  set(0x5b, ram.size() > 1 ? ram.back().size / unit : 0, 3);
  set(0x5f, platform.apic_ids.size() - 1, 1);
  return {};
}

}  // namespace trivet::vmm
