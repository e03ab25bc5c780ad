// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/vmm/acpi/aml.hpp>
#include <trivet/vmm/layout_x86_64.hpp>

#include "acpi/table.hpp"

namespace trivet::vmm::acpi {
namespace {

constexpr std::uint8_t dsdt_revision = 2;  // 64-bit integers
constexpr std::uint8_t ssdt_revision = 2;
constexpr auto present = 0xf;  // _STA: there, enabled, shown, working

using Line = aml::Resources::Line;

aml::Code processor(unsigned uid) {
  return aml::device(aml::Name::numbered('C', uid), aml::join({
                                                        aml::name("_HID", aml::string("ACPI0007")),
                                                        aml::name("_UID", aml::integer(uid)),
                                                        aml::name("_STA", aml::integer(present)),
                                                    }));
}

aml::Code uart(unsigned uid, const SerialInfo& info) {
  aml::Resources resources;
  resources.ports(info.port, layout::com1_ports);
  if (info.gsi) resources.interrupt(*info.gsi, Line::edge_high);
  return aml::device(aml::Name::numbered('S', uid), aml::join({
                                                        aml::name("_HID", aml::eisa_id("PNP0501")),
                                                        aml::name("_UID", aml::integer(uid)),
                                                        aml::name("_STA", aml::integer(present)),
                                                        aml::name("_CRS", resources.code()),
                                                    }));
}

aml::Code clock(const RtcInfo& info) {
  aml::Resources resources;
  resources.ports(info.port, layout::rtc_ports);
  if (info.gsi) resources.interrupt(*info.gsi, Line::edge_high);
  return aml::device("RTC", aml::join({
                                aml::name("_HID", aml::eisa_id("PNP0B00")),
                                aml::name("_CRS", resources.code()),
                            }));
}

aml::Code keyboard(bool has_line) {
  aml::Resources resources;
  resources.ports(layout::keyboard_data_port, 1).ports(layout::keyboard_command_port, 1);
  if (has_line) resources.interrupt(layout::keyboard_gsi, Line::edge_high);
  return aml::device("PS2K", aml::join({
                                 aml::name("_HID", aml::eisa_id("PNP0303")),
                                 aml::name("_STA", aml::integer(present)),
                                 aml::name("_CRS", resources.code()),
                             }));
}

/// The name that Linux's and Windows' drivers know it by.
aml::Code panic_port() {
  aml::Resources resources;
  resources.ports(layout::panic_port, 1);
  return aml::device("PEVT", aml::join({
                                 aml::name("_HID", aml::string("QEMU0001")),
                                 aml::name("_STA", aml::integer(present)),
                                 aml::name("_CRS", resources.code()),
                             }));
}

aml::Code virtio(unsigned uid, const VirtioMmioInfo& info) {
  aml::Resources resources;
  resources.memory(static_cast<std::uint32_t>(info.range.start.value), static_cast<std::uint32_t>(info.range.size));
  resources.interrupt(info.gsi, info.trigger == Trigger::edge ? Line::edge_high : Line::level_high);
  return aml::device(aml::Name::numbered('V', uid), aml::join({
                                                        aml::name("_HID", aml::string("LNRO0005")),
                                                        aml::name("_UID", aml::integer(uid)),
                                                        aml::name("_CCA", aml::integer(1)),  // DMA is coherent
                                                        aml::name("_CRS", resources.code()),
                                                    }));
}

/// The host of PCI buses. No _PRT: its functions have messages only.
aml::Code pci_host(const PciInfo& info) {
  aml::Resources resources;
  resources.buses(0, info.last_bus).ports(layout::pci_config_port, layout::pci_config_ports);
  resources.memory_window(info.memory.start.value, info.memory.size);
  if (info.high_memory) resources.memory_window(info.high_memory->start.value, info.high_memory->size);
  return aml::device("PCI0", aml::join({
                                 aml::name("_HID", aml::eisa_id("PNP0A08")),
                                 aml::name("_CID", aml::eisa_id("PNP0A03")),
                                 aml::name("_SEG", aml::integer(0)),
                                 aml::name("_BBN", aml::integer(0)),
                                 aml::name("_UID", aml::integer(0)),
                                 aml::name("_CCA", aml::integer(1)),
                                 aml::name("_CRS", resources.code()),
                             }));
}

/// ECAM belongs to no device: guests use it only if it is reserved as the board's own.
aml::Code pci_ecam(const PciInfo& info) {
  aml::Resources resources;
  resources.memory(static_cast<std::uint32_t>(info.ecam.start.value), static_cast<std::uint32_t>(info.ecam.size));
  return aml::device("ECAM", aml::join({
                                 aml::name("_HID", aml::eisa_id("PNP0C02")),
                                 aml::name("_CRS", resources.code()),
                             }));
}

/// \_S5: the sleep type that powers off.
aml::Code soft_off() {
  const auto zero = aml::integer(0);
  return aml::name("_S5", aml::package({aml::integer(layout::soft_off_type), zero, zero, zero}));
}

void add(aml::Code& code, const aml::Code& more) {
  code.insert(code.end(), more.begin(), more.end());
}

}  // namespace

Table make_pci_ssdt(const PciInfo& pci) {
  Table table;
  append(table, make_header({'S', 'S', 'D', 'T'}, ssdt_revision));
  add(table, aml::scope("_SB", pci_host(pci)));
  seal(table);
  return table;
}

Table make_dsdt(const PlatformInfo& platform) {
  aml::Code devices;
  for (unsigned uid = 0; uid < platform.apic_ids.size(); ++uid) add(devices, processor(uid));
  for (unsigned uid = 0; uid < platform.serial.size(); ++uid) add(devices, uart(uid, platform.serial[uid]));
  if (platform.rtc) add(devices, clock(*platform.rtc));
  if (platform.i8042) add(devices, keyboard(platform.ioapic.has_value()));
  if (platform.panic_port) add(devices, panic_port());
  for (unsigned uid = 0; uid < platform.virtio_mmio.size(); ++uid) {
    add(devices, virtio(uid, platform.virtio_mmio[uid]));
  }
  if (platform.pci) {
    add(devices, pci_host(*platform.pci));
    add(devices, pci_ecam(*platform.pci));
  }
  Table table;
  append(table, make_header({'D', 'S', 'D', 'T'}, dsdt_revision));
  add(table, soft_off());
  add(table, aml::scope("_SB", devices));
  seal(table);
  return table;
}

}  // namespace trivet::vmm::acpi
