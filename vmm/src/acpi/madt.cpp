// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/vmm/layout_x86_64.hpp>

#include "acpi/table.hpp"

namespace trivet::vmm::acpi {
namespace {

constexpr std::uint8_t madt_revision = 5;
/// Ids from here on do not fit the old structure: 255 is broadcast (5.2.12.12).
constexpr std::uint32_t first_x2apic_id = 255;
constexpr std::uint8_t pit_isa_line = 0;

void append_local_apic(Table& table, std::uint32_t uid, std::uint32_t apic_id) {
  if (apic_id < first_x2apic_id && uid < first_x2apic_id) {
    abi::MadtLocalApic apic{};
    apic.type = abi::madt_local_apic;
    apic.length = sizeof(apic);
    apic.processor_uid = static_cast<std::uint8_t>(uid);
    apic.apic_id = static_cast<std::uint8_t>(apic_id);
    apic.flags = abi::madt_enabled;
    append(table, apic);
    return;
  }
  abi::MadtLocalX2Apic apic{};
  apic.type = abi::madt_local_x2apic;
  apic.length = sizeof(apic);
  apic.apic_id = apic_id;
  apic.processor_uid = uid;
  apic.flags = abi::madt_enabled;
  append(table, apic);
}

void append_io_apic(Table& table, const IoApicInfo& info) {
  abi::MadtIoApic apic{};
  apic.type = abi::madt_io_apic;
  apic.length = sizeof(apic);
  apic.id = info.id;
  apic.address = static_cast<std::uint32_t>(info.address.value);
  apic.first_gsi = info.first_gsi;
  append(table, apic);
}

void append_pit_override(Table& table) {
  abi::MadtSourceOverride entry{};
  entry.type = abi::madt_source_override;
  entry.length = abi::madt_source_override_size;
  entry.source = pit_isa_line;
  entry.gsi = layout::pit_gsi;
  append(table, entry, abi::madt_source_override_size);
}

}  // namespace

Table make_madt(const PlatformInfo& platform) {
  abi::AcpiMadt madt{};
  madt.header = make_header({'A', 'P', 'I', 'C'}, madt_revision);
  madt.local_apic = static_cast<std::uint32_t>(layout::local_apic.start.value);
  madt.flags = platform.pit ? abi::madt_pcat_compatible : 0;
  Table table;
  append(table, madt);
  for (std::uint32_t uid = 0; uid < platform.apic_ids.size(); ++uid) {
    append_local_apic(table, uid, platform.apic_ids[uid]);
  }
  if (platform.ioapic) append_io_apic(table, *platform.ioapic);
  if (platform.ioapic && platform.pit) append_pit_override(table);
  seal(table);
  return table;
}

}  // namespace trivet::vmm::acpi
