// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Reading ACPI tables byte-wise, and looking for a few known things in AML without interpreting it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace guest {

struct MmioDevice;

/// Bytes of a table; a read past the end gives zero.
struct Bytes {
  std::uint64_t address;
  std::size_t size;

  std::uint8_t u8(std::size_t at) const {
    return at < size ? reinterpret_cast<const volatile std::uint8_t*>(address)[at] : std::uint8_t{0};
  }
  std::uint32_t u32(std::size_t at) const {
    return std::uint32_t{u8(at)} | std::uint32_t{u8(at + 1)} << 8 | std::uint32_t{u8(at + 2)} << 16 |
           std::uint32_t{u8(at + 3)} << 24;
  }
  std::uint64_t u64(std::size_t at) const { return std::uint64_t{u32(at)} | std::uint64_t{u32(at + 4)} << 32; }
};

constexpr std::uint32_t table_signature(const char (&name)[5]) {
  return static_cast<std::uint32_t>(name[0]) | static_cast<std::uint32_t>(name[1]) << 8 |
         static_cast<std::uint32_t>(name[2]) << 16 | static_cast<std::uint32_t>(name[3]) << 24;
}

/// The table at `address`, as long as its header says.
Bytes table_at(std::uint64_t address);
/// Looks in the BIOS area; 0 where there is none.
std::uint64_t scan_for_rsdp();
/// Sets `type` to the first element of \_S5 if `aml` has it.
void find_sleep_type(Bytes aml, std::uint8_t& type);
/// The port of QEMU0001, by which a crash is reported; 0 where there is none.
std::uint16_t find_panic_port(Bytes aml);
/// Whether it has a device PNP0A03 or PNP0A08.
bool has_pci_host(Bytes aml);
/// Adds each LNRO0005 device with its first memory range and interrupt; returns the new count.
std::size_t find_virtio_mmio(Bytes aml, MmioDevice* devices, std::size_t count, std::size_t most);

}  // namespace guest
