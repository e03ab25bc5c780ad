// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "acpi_tables.hpp"

#include "acpi.hpp"

namespace guest {
namespace {

bool matches(Bytes bytes, std::size_t at, const char* text) {
  for (std::size_t i = 0; text[i] != 0; ++i) {
    if (bytes.u8(at + i) != static_cast<std::uint8_t>(text[i])) return false;
  }
  return true;
}

constexpr std::uint8_t port_descriptor = 0x47;     // ACPI 6.4.2.5
constexpr std::uint8_t memory32_fixed = 0x86;      // ACPI 6.4.3.4
constexpr std::uint8_t extended_interrupt = 0x89;  // ACPI 6.4.3.6
constexpr std::uint8_t qword_space = 0x8a;         // ACPI 6.4.3.5.1

}  // namespace

Bytes table_at(std::uint64_t address) {
  Bytes header{address, 36};
  std::uint32_t length = header.u32(4);
  return {address, length > 0x100000 ? 0x100000u : length};
}

std::uint64_t scan_for_rsdp() {
  for (std::uint64_t address = 0xe0000; address < 0x100000; address += 16) {
    Bytes bytes{address, 16};
    if (bytes.u32(0) == table_signature("RSD ") && bytes.u32(4) == table_signature("PTR ")) return address;
  }
  return 0;
}

void find_sleep_type(Bytes aml, std::uint8_t& type) {
  constexpr std::uint8_t package_op = 0x12, zero_op = 0x00, one_op = 0x01, byte_prefix = 0x0a;
  for (std::size_t at = 36; at + 10 < aml.size; ++at) {
    if (aml.u8(at) != '_' || aml.u32(at) != table_signature("_S5_") || aml.u8(at + 4) != package_op) continue;
    std::size_t element = at + 5 + 1 + (aml.u8(at + 5) >> 6) + 1;  // package length, element count
    std::uint8_t first = aml.u8(element);
    if (first == zero_op || first == one_op) type = first;
    if (first == byte_prefix) type = aml.u8(element + 1);
    return;
  }
}

std::uint16_t find_panic_port(Bytes aml) {
  bool found = false;
  for (std::size_t at = 36; at + 8 <= aml.size; ++at) {
    if (matches(aml, at, "QEMU0001")) found = true;
    if (found && aml.u8(at) == port_descriptor) return static_cast<std::uint16_t>(aml.u32(at + 2));
  }
  return 0;
}

bool has_pci_host(Bytes aml) {
  constexpr std::uint32_t pnp0a03 = 0x030ad041, pnp0a08 = 0x080ad041;  // as EISA ids lie in memory
  for (std::size_t at = 36; at + 4 <= aml.size; ++at) {
    if (aml.u8(at) != 0x41) continue;
    std::uint32_t id = aml.u32(at);
    if (id == pnp0a03 || id == pnp0a08) return true;
  }
  return false;
}

std::size_t find_virtio_mmio(Bytes aml, MmioDevice* devices, std::size_t count, std::size_t most) {
  MmioDevice* device = nullptr;
  for (std::size_t at = 36; at + 8 <= aml.size; ++at) {
    switch (aml.u8(at)) {
      case 'L':
        if (!matches(aml, at, "LNRO0005")) break;
        if (count == most) return count;
        device = &devices[count++];
        *device = {};
        break;
      case memory32_fixed:
        if (device == nullptr || device->address != 0 || aml.u8(at + 1) != 9 || aml.u8(at + 2) != 0) break;
        device->address = aml.u32(at + 4);
        device->size = aml.u32(at + 8);
        at += 11;
        break;
      case qword_space:
        if (device == nullptr || device->address != 0 || aml.u8(at + 1) != 43 || aml.u8(at + 2) != 0) break;
        if (aml.u8(at + 3) != 0) break;  // memory
        device->address = aml.u64(at + 14);
        device->size = static_cast<std::uint32_t>(aml.u64(at + 38));
        at += 45;
        break;
      case extended_interrupt:
        if (device == nullptr || device->gsi != 0 || aml.u8(at + 1) != 6 || aml.u8(at + 2) != 0) break;
        device->gsi = aml.u32(at + 5);
        at += 8;
        break;
      default:
        break;
    }
  }
  return count;
}

}  // namespace guest
