// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "acpi/check_platform.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <string>
#include <utility>

#include <trivet/vmm/acpi/aml.hpp>

namespace trivet::vmm::acpi {
namespace {

constexpr auto operation = "describe platform in ACPI";
constexpr std::uint64_t four_gibibytes = std::uint64_t{1} << 32;

Error wrong(std::string_view why) {
  return {Errc::invalid_argument, operation, why};
}

Result<void> check_number(std::size_t count, std::string_view what) {
  if (count <= aml::Name::most_numbers) return {};
  return Error(Errc::limit, operation,
               fmt::format("{} {}; at most {} have names", count, what, aml::Name::most_numbers));
}

Result<void> check_gsi(const PlatformInfo& platform, std::uint32_t gsi, std::string_view what) {
  if (!platform.ioapic) return wrong(fmt::format("{} has interrupt {}, but there is no I/O APIC", what, gsi));
  const auto first = platform.ioapic->first_gsi;
  if (gsi >= first && gsi - first < layout::ioapic_pins) return {};
  return wrong(fmt::format("{} has interrupt {}; the I/O APIC has {} to {}", what, gsi, first,
                           std::uint64_t{first} + layout::ioapic_pins - 1));
}

Result<void> check_ports(std::uint16_t first, std::uint16_t count, std::string_view what) {
  if (std::uint32_t{first} + count <= 0x1'0000) return {};
  return wrong(fmt::format("{} at port {:#x} reaches beyond port 0xffff", what, first));
}

Result<void> check_processors(const PlatformInfo& platform) {
  if (platform.apic_ids.empty()) return wrong("no vCPU");
  TRIVET_TRY(check_number(platform.apic_ids.size(), "vCPUs"));
  auto ids = platform.apic_ids;
  std::sort(ids.begin(), ids.end());
  if (const auto twice = std::adjacent_find(ids.begin(), ids.end()); twice != ids.end()) {
    return wrong(fmt::format("two vCPUs have APIC id {}", *twice));
  }
  return {};
}

Result<void> check_virtio(const PlatformInfo& platform) {
  const auto& devices = platform.virtio_mmio;
  TRIVET_TRY(check_number(devices.size(), "virtio-mmio devices"));
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const auto& range = devices[i].range;
    const auto what = fmt::format("virtio-mmio device {}", i);
    if (!range.valid() || range.last().value >= four_gibibytes) {
      return wrong(fmt::format("{}: {:#x} bytes at {:#x} are not below 4 GiB", what, range.size, range.start.value));
    }
    TRIVET_TRY(check_gsi(platform, devices[i].gsi, what));
    for (std::size_t other = 0; other < i; ++other) {
      if (range.overlaps(devices[other].range)) return wrong(fmt::format("{} overlaps device {}", what, other));
    }
  }
  return {};
}

Result<void> check_pci(const PciInfo& pci) {
  constexpr std::uint64_t bus_size = std::uint64_t{1} << 20;
  for (const auto& [range, what] : {std::pair{pci.ecam, "ECAM"}, std::pair{pci.memory, "memory"}}) {
    if (!range.valid() || range.last().value >= four_gibibytes) {
      return wrong(
          fmt::format("PCI {}: {:#x} bytes at {:#x} are not below 4 GiB", what, range.size, range.start.value));
    }
  }
  if (pci.ecam.overlaps(pci.memory)) return wrong("PCI ECAM overlaps PCI memory");
  if (pci.high_memory && (!pci.high_memory->valid() || pci.high_memory->start.value < four_gibibytes)) {
    return wrong("PCI high memory is not above 4 GiB");
  }
  if (pci.ecam.size != (pci.last_bus + 1U) * bus_size || !pci.ecam.start.is_aligned(bus_size)) {
    return wrong(fmt::format("PCI ECAM: {:#x} bytes at {:#x} are no megabyte for each of {} buses", pci.ecam.size,
                             pci.ecam.start.value, pci.last_bus + 1U));
  }
  return {};
}

}  // namespace

Result<void> check_platform(const PlatformInfo& platform) {
  TRIVET_TRY(check_processors(platform));
  if (platform.ioapic && platform.ioapic->address.value >= four_gibibytes) {
    return wrong("the I/O APIC is not below 4 GiB");
  }
  TRIVET_TRY(check_number(platform.serial.size(), "UARTs"));
  for (std::size_t i = 0; i < platform.serial.size(); ++i) {
    const auto what = fmt::format("UART {}", i);
    TRIVET_TRY(check_ports(platform.serial[i].port, layout::com1_ports, what));
    if (platform.serial[i].gsi) TRIVET_TRY(check_gsi(platform, *platform.serial[i].gsi, what));
  }
  if (platform.rtc) TRIVET_TRY(check_ports(platform.rtc->port, layout::rtc_ports, "the clock"));
  if (platform.rtc && platform.rtc->gsi) TRIVET_TRY(check_gsi(platform, *platform.rtc->gsi, "the clock"));
  if (platform.pci) TRIVET_TRY(check_pci(*platform.pci));
  return check_virtio(platform);
}

}  // namespace trivet::vmm::acpi
