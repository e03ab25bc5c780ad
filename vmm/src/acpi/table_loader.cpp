// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <span>
#include <string_view>

#include <trivet/vmm/acpi/acpi_tables.hpp>
#include <trivet/vmm/acpi/table_loader.hpp>

#include "abi/acpi.hpp"
#include "abi/fw_cfg.hpp"

namespace trivet::vmm {
namespace {

constexpr std::string_view rsdp_file = "etc/acpi/rsdp";
constexpr std::string_view tables_file = "etc/acpi/tables";
constexpr std::uint32_t rsdp_alignment = 16, tables_alignment = 64;

abi::LoaderName name_of(std::string_view file) {
  abi::LoaderName name{};
  std::copy(file.begin(), file.end(), name.begin());
  return name;
}

class Script {
 public:
  void allocate(std::string_view file, std::uint32_t alignment, std::uint8_t zone) {
    abi::LoaderAllocate step{};
    step.command = abi::loader_allocate;
    step.file = name_of(file);
    step.alignment = alignment;
    step.zone = zone;
    add(step);
  }
  /// The pointer of `size` bytes at `offset` leads into the tables.
  void pointer(std::string_view file, std::size_t offset, std::size_t size) {
    abi::LoaderAddPointer step{};
    step.command = abi::loader_add_pointer;
    step.file = name_of(file);
    step.target = name_of(tables_file);
    step.offset = static_cast<std::uint32_t>(offset);
    step.size = static_cast<std::uint8_t>(size);
    add(step);
  }
  void checksum(std::string_view file, std::size_t offset, std::size_t start, std::size_t length) {
    abi::LoaderAddChecksum step{};
    step.command = abi::loader_add_checksum;
    step.file = name_of(file);
    step.offset = static_cast<std::uint32_t>(offset);
    step.start = static_cast<std::uint32_t>(start);
    step.length = static_cast<std::uint32_t>(length);
    add(step);
  }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  template <class Step>
  void add(const Step& step) {
    const auto bytes = std::as_bytes(std::span(&step, 1));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }

  std::vector<std::byte> bytes_;
};

bool is(const AcpiTableSpan& table, std::string_view signature) {
  return std::string_view(table.signature.data(), table.signature.size()) == signature;
}

/// All pointers of one table, then its checksum.
void mend(Script& script, const AcpiTableSpan& table) {
  const bool fixed = is(table, "FACP");
  if (!fixed && !is(table, "XSDT")) return;
  if (fixed) {
    script.pointer(tables_file, table.offset + offsetof(abi::AcpiFixedTable, dsdt), sizeof(abi::le32));
    script.pointer(tables_file, table.offset + offsetof(abi::AcpiFixedTable, extended_dsdt), sizeof(abi::le64));
  } else {
    for (auto at = sizeof(abi::AcpiHeader); at < table.size; at += sizeof(abi::le64)) {
      script.pointer(tables_file, table.offset + at, sizeof(abi::le64));
    }
  }
  script.checksum(tables_file, table.offset + offsetof(abi::AcpiHeader, checksum), table.offset, table.size);
}

}  // namespace

Result<LoadableTables> loadable_acpi_tables(const PlatformInfo& platform) {
  // As if they lay at zero, so that pointers are offsets; the root pointer, first there, goes to a file of its own.
  TRIVET_ASSIGN(auto placed, acpi_tables(platform, {{0}, layout::acpi_tables.size}));
  LoadableTables loadable;
  const auto root_end = placed.bytes.begin() + abi::acpi_root_pointer_size;
  loadable.rsdp.assign(placed.bytes.begin(), root_end);
  std::fill(placed.bytes.begin(), root_end, std::byte{0});
  loadable.tables = std::move(placed.bytes);

  Script script;
  script.allocate(rsdp_file, rsdp_alignment, abi::loader_zone_bios);
  script.allocate(tables_file, tables_alignment, abi::loader_zone_high);
  for (const auto& table : placed.tables) mend(script, table);
  script.pointer(rsdp_file, offsetof(abi::AcpiRootPointer, xsdt), sizeof(abi::le64));
  script.checksum(rsdp_file, offsetof(abi::AcpiRootPointer, checksum), 0, abi::acpi_root_pointer_first_size);
  script.checksum(rsdp_file, offsetof(abi::AcpiRootPointer, extended_checksum), 0, abi::acpi_root_pointer_size);
  loadable.script = script.take();
  return loadable;
}

}  // namespace trivet::vmm
