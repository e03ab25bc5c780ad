// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/vmm/acpi_fixed_hardware.hpp>
#include <trivet/vmm/layout_x86_64.hpp>

#include "acpi/table.hpp"

namespace trivet::vmm::acpi {
namespace {

constexpr std::uint8_t fadt_revision = 6;
constexpr std::uint8_t fadt_minor_revision = 4;

abi::AcpiGenericAddress byte_port(std::uint16_t port) {
  abi::AcpiGenericAddress address{};
  address.space = abi::acpi_space_io;
  address.bit_width = 8;
  address.access_size = abi::acpi_access_byte;
  address.address = port;
  return address;
}

std::uint16_t boot_architecture(const PlatformInfo& platform) {
  unsigned flags = abi::acpi_boot_no_vga;
  if (platform.pit || !platform.serial.empty()) flags |= abi::acpi_boot_legacy_devices;
  if (platform.i8042) flags |= abi::acpi_boot_8042;
  if (!platform.rtc) flags |= abi::acpi_boot_no_cmos_rtc;
  return static_cast<std::uint16_t>(flags);
}

void add_fixed_hardware(abi::AcpiFixedTable& fadt) {
  constexpr auto at = [](std::uint64_t offset) {
    return static_cast<std::uint32_t>(layout::fixed_hardware_port + offset);
  };
  constexpr std::uint16_t none = 0xfff;  // a latency beyond what a processor state can have
  fadt.sci = layout::sci_gsi;
  fadt.pm1a_event = at(AcpiFixedHardware::pm1_status);
  fadt.pm1_event_length = 4;
  fadt.pm1a_control = at(AcpiFixedHardware::pm1_control);
  fadt.pm1_control_length = 2;
  fadt.pm_timer = at(AcpiFixedHardware::timer);
  fadt.pm_timer_length = 4;
  fadt.c2_latency = none;
  fadt.c3_latency = none;
}

}  // namespace

Table make_fadt(const PlatformInfo& platform, GuestAddress dsdt) {
  abi::AcpiFixedTable fadt{};
  fadt.header = make_header({'F', 'A', 'C', 'P'}, fadt_revision);
  fadt.minor_version = fadt_minor_revision;
  fadt.boot_architecture = boot_architecture(platform);
  fadt.flags = abi::acpi_flag_wbinvd | abi::acpi_flag_no_fixed_power_button | abi::acpi_flag_no_fixed_sleep_button |
               abi::acpi_flag_reset_register | (platform.fixed_hardware ? 0 : abi::acpi_flag_hardware_reduced);
  fadt.reset_register = byte_port(layout::reset_port);
  fadt.reset_value = layout::reset_value;
  fadt.dsdt = static_cast<std::uint32_t>(dsdt.value);  // SeaBIOS knows no other
  fadt.extended_dsdt = dsdt.value;
  if (platform.fixed_hardware) {
    add_fixed_hardware(fadt);
  } else {
    fadt.sleep_control = byte_port(layout::sleep_control_port);
    fadt.sleep_status = byte_port(layout::sleep_status_port);
  }
  fadt.hypervisor = {'T', 'R', 'I', 'V', 'E', 'T', 0, 0};
  Table table;
  append(table, fadt);
  seal(table);
  return table;
}

}  // namespace trivet::vmm::acpi
