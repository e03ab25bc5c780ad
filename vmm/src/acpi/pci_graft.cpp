// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cstring>
#include <fmt/format.h>

#include <trivet/vmm/acpi/pci_graft.hpp>

#include "acpi/table.hpp"

namespace trivet::vmm {
namespace {

constexpr auto operation = "add a PCI host to the guest's ACPI tables";
constexpr std::uint64_t step = 16;             // 5.2.5.1: the root pointer is aligned so
constexpr std::size_t largest_table = 0x1000;  // of an XSDT: 500 tables
using acpi::Table;

Result<Table> read(const memory::GuestMemory& memory, GuestAddress at, std::size_t size) {
  Table bytes(size);
  TRIVET_TRY(memory.read(at, bytes));
  return bytes;
}

/// The root pointer's address: revision 2 with a right checksum.
Result<GuestAddress> find_root(const memory::GuestMemory& memory, const GuestRange& area) {
  constexpr std::string_view signature = "RSD PTR ";
  for (auto at = area.start.value; at - area.start.value + sizeof(abi::AcpiRootPointer) <= area.size; at += step) {
    const auto bytes = read(memory, {at}, abi::acpi_root_pointer_size);
    if (!bytes || std::memcmp(bytes->data(), signature.data(), signature.size()) != 0) continue;
    if (acpi::checksum(*bytes) == 0 &&
        acpi::checksum(std::span(*bytes).first(abi::acpi_root_pointer_first_size)) == 0) {
      return GuestAddress{at};
    }
  }
  return Error(Errc::not_found, operation,
               fmt::format("no ACPI root pointer between {:#x} and {:#x}: was the guest made with acpi=1, and is it a "
                           "PVH guest?",
                           area.start.value, area.last().value),
               Blame::host);
}

Result<Table> read_table(const memory::GuestMemory& memory, GuestAddress at) {
  TRIVET_ASSIGN(const auto header, memory.read_object<abi::AcpiHeader>(at));
  const std::size_t size = header.length.value();
  if (size < sizeof header || size > largest_table) {
    return Error::malformed(operation, fmt::format("the table at {:#x} is {} bytes long", at.value, size));
  }
  TRIVET_ASSIGN(auto table, read(memory, at, size));
  if (acpi::checksum(table) != 0) {
    return Error::malformed(operation, fmt::format("the table at {:#x} has a wrong checksum", at.value));
  }
  return table;
}

/// Whether one of the XSDT's tables is ours already.
Result<bool> holds(const memory::GuestMemory& memory, const Table& xsdt, const Table& ours) {
  for (std::size_t at = sizeof(abi::AcpiHeader); at + sizeof(abi::le64) <= xsdt.size(); at += sizeof(abi::le64)) {
    abi::le64 address;
    std::memcpy(&address, xsdt.data() + at, sizeof address);
    const auto listed = read(memory, {address.value()}, ours.size());
    if (listed && *listed == ours) return true;
  }
  return false;
}

std::uint64_t aligned(std::uint64_t at) {
  return (at + step - 1) / step * step;
}

}  // namespace

Result<void> graft_pci_host(const memory::GuestMemory& memory, const GuestRange& area, const PciInfo& pci) {
  TRIVET_ASSIGN(const auto root_at, find_root(memory, area));
  TRIVET_ASSIGN(auto root, memory.read_object<abi::AcpiRootPointer>(root_at));
  TRIVET_ASSIGN(auto xsdt, read_table(memory, {root.xsdt.value()}));
  const auto ssdt = acpi::make_pci_ssdt(pci);
  TRIVET_ASSIGN(const bool there, holds(memory, xsdt, ssdt));
  if (there) return {};

  const auto ssdt_at = aligned(root_at.value + sizeof(abi::AcpiRootPointer));
  const auto xsdt_at = aligned(ssdt_at + ssdt.size());
  const auto end = xsdt_at + xsdt.size() + sizeof(abi::le64);
  const auto page_end = (root_at.value / layout::page_size + 1) * layout::page_size;
  TRIVET_ASSIGN(const auto rest, read(memory, {ssdt_at}, page_end > ssdt_at ? page_end - ssdt_at : 0));
  const bool empty = std::all_of(rest.begin(), rest.end(), [](std::byte byte) { return byte == std::byte{0}; });
  if (end > page_end || !empty) {
    return Error(Errc::limit, operation,
                 fmt::format("no {} free bytes behind the root pointer at {:#x}", end - ssdt_at, root_at.value),
                 Blame::host);
  }
  acpi::append(xsdt, abi::le64(ssdt_at));
  acpi::seal(xsdt);
  root.xsdt = xsdt_at;
  root.checksum = 0;
  root.extended_checksum = 0;
  const auto bytes = std::as_bytes(std::span(&root, 1));
  root.checksum = acpi::checksum(bytes.first(abi::acpi_root_pointer_first_size));
  root.extended_checksum = acpi::checksum(bytes.first(abi::acpi_root_pointer_size));
  // The pointer last: until then the guest has the tables that it had.
  TRIVET_TRY(memory.write({ssdt_at}, ssdt));
  TRIVET_TRY(memory.write({xsdt_at}, xsdt));
  return memory.write(root_at, bytes.first(abi::acpi_root_pointer_size));
}

}  // namespace trivet::vmm
