// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <fmt/format.h>

#include <trivet/vmm/acpi/acpi_tables.hpp>

#include "acpi/check_platform.hpp"
#include "acpi/table.hpp"

namespace trivet::vmm {
namespace {

constexpr std::size_t table_alignment = 16;

/// Puts tables one after the other and remembers where.
class Placer {
 public:
  explicit Placer(GuestAddress base) : base_(base) {
    tables_.bytes.resize(table_alignment * ((abi::acpi_root_pointer_size + table_alignment - 1) / table_alignment));
    tables_.rsdp = base;
  }

  GuestAddress place(const acpi::Table& table) {
    auto& bytes = tables_.bytes;
    AcpiTableSpan span;
    span.offset = bytes.size();
    span.size = table.size();
    for (std::size_t i = 0; i < span.signature.size(); ++i) span.signature[i] = std::to_integer<char>(table[i]);
    tables_.tables.push_back(span);
    bytes.insert(bytes.end(), table.begin(), table.end());
    bytes.resize((bytes.size() + table_alignment - 1) / table_alignment * table_alignment);
    return {base_.value + span.offset};
  }

  AcpiTables finish(GuestAddress xsdt) {
    const auto pointer = acpi::make_rsdp(xsdt);
    std::copy(pointer.begin(), pointer.end(), tables_.bytes.begin());
    return std::move(tables_);
  }

 private:
  GuestAddress base_;
  AcpiTables tables_;
};

}  // namespace

Result<AcpiTables> acpi_tables(const PlatformInfo& platform, const GuestRange& area) {
  constexpr auto operation = "place ACPI tables";
  TRIVET_TRY(acpi::check_platform(platform));
  if (!area.valid() || !area.start.is_aligned(table_alignment)) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("{:#x} bytes at {:#x} are no place for them", area.size, area.start.value));
  }
  Placer placer(area.start);
  const auto dsdt = placer.place(acpi::make_dsdt(platform));
  std::vector<GuestAddress> listed{placer.place(acpi::make_fadt(platform, dsdt)),
                                   placer.place(acpi::make_madt(platform))};
  if (platform.pci) listed.push_back(placer.place(acpi::make_mcfg(*platform.pci)));
  auto tables = placer.finish(placer.place(acpi::make_xsdt(listed)));
  if (tables.bytes.size() > area.size) {
    return Error(Errc::limit, operation,
                 fmt::format("{} bytes of tables; {} fit ({} vCPUs, {} virtio devices)", tables.bytes.size(), area.size,
                             platform.apic_ids.size(), platform.virtio_mmio.size()));
  }
  return tables;
}

}  // namespace trivet::vmm
