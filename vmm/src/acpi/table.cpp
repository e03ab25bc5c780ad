// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "acpi/table.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace trivet::vmm::acpi {
namespace {

constexpr std::array<char, 6> oem_id{'T', 'R', 'I', 'V', 'E', 'T'};
constexpr std::array<char, 8> oem_table_id{'T', 'R', 'I', 'V', 'E', 'T', 'V', 'M'};
constexpr std::array<char, 4> creator_id{'T', 'R', 'V', 'T'};
constexpr std::uint8_t root_pointer_revision = 2;
constexpr std::uint8_t xsdt_revision = 1;

}  // namespace

abi::AcpiHeader make_header(const abi::AcpiSignature& signature, std::uint8_t revision) {
  abi::AcpiHeader header{};
  header.signature = signature;
  header.revision = revision;
  header.oem_id = oem_id;
  header.oem_table_id = oem_table_id;
  header.oem_revision = 1;
  header.creator_id = creator_id;
  header.creator_revision = 1;
  return header;
}

void append(Table& table, std::span<const std::byte> bytes) {
  const auto before = table.size();
  table.resize(before + bytes.size());
  std::copy(bytes.begin(), bytes.end(), table.begin() + static_cast<std::ptrdiff_t>(before));
}

std::uint8_t checksum(std::span<const std::byte> bytes) {
  const auto sum = std::accumulate(bytes.begin(), bytes.end(), 0U, [](unsigned so_far, std::byte byte) {
    return so_far + std::to_integer<unsigned>(byte);
  });
  return static_cast<std::uint8_t>(-sum);
}

void seal(Table& table) {
  abi::AcpiHeader header;
  std::memcpy(&header, table.data(), sizeof(header));
  header.length = static_cast<std::uint32_t>(table.size());
  header.checksum = 0;
  std::memcpy(table.data(), &header, sizeof(header));
  header.checksum = checksum(table);
  std::memcpy(table.data(), &header, sizeof(header));
}

Table make_rsdp(GuestAddress xsdt) {
  abi::AcpiRootPointer pointer{};
  pointer.signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
  pointer.oem_id = oem_id;
  pointer.revision = root_pointer_revision;
  pointer.length = static_cast<std::uint32_t>(abi::acpi_root_pointer_size);
  pointer.xsdt = xsdt.value;
  const auto bytes = std::as_bytes(std::span(&pointer, 1));
  pointer.checksum = checksum(bytes.first(abi::acpi_root_pointer_first_size));
  pointer.extended_checksum = checksum(bytes.first(abi::acpi_root_pointer_size));
  Table table;
  append(table, pointer, abi::acpi_root_pointer_size);
  return table;
}

Table make_xsdt(std::span<const GuestAddress> tables) {
  Table table;
  append(table, make_header({'X', 'S', 'D', 'T'}, xsdt_revision));
  for (const auto at : tables) {
    abi::le64 entry;
    entry = at.value;
    append(table, entry);
  }
  seal(table);
  return table;
}

}  // namespace trivet::vmm::acpi
