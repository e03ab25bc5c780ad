// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "acpi.hpp"

#include "acpi_tables.hpp"
#include "cpu.hpp"

namespace guest {

AcpiFacts acpi;

namespace {

constexpr std::uint32_t flag_reset = 1u << 10;
constexpr std::uint32_t flag_hardware_reduced = 1u << 20;
constexpr std::uint64_t reachable = std::uint64_t{1} << 32;  // what the page tables map

std::uint64_t sleep_control = 0;
std::uint8_t sleep_control_space = 0;
std::uint16_t pm1a_control = 0;
std::uint64_t reset_register = 0;
std::uint8_t reset_space = 0;
std::uint8_t reset_value = 0;
std::uint8_t sleep_type = 5;

void read_madt(Bytes table) {
  acpi.local_apic = table.u32(36);
  for (std::size_t at = 44; at + 2 <= table.size;) {
    std::uint8_t type = table.u8(at);
    std::uint8_t length = table.u8(at + 1);
    if (length < 2) return;
    std::uint32_t id = type == 9 ? table.u32(at + 4) : table.u8(at + 3);
    std::uint32_t flags = type == 9 ? table.u32(at + 8) : table.u32(at + 4);
    bool processor = (type == 0 || type == 9) && (flags & 1) != 0;
    if (processor && acpi.processor_count < AcpiFacts::most_processors) acpi.apic_ids[acpi.processor_count++] = id;
    if (type == 1) ++acpi.ioapic_count;
    at += length;
  }
}

void read_aml(Bytes table) {
  find_sleep_type(table, sleep_type);
  if (acpi.panic_port == 0) acpi.panic_port = find_panic_port(table);
  acpi.pci_host = acpi.pci_host || has_pci_host(table);
  acpi.device_count = find_virtio_mmio(table, acpi.devices, acpi.device_count, AcpiFacts::most_devices);
}

void read_mcfg(Bytes table) {
  bool first = table.size >= 60 && (table.u32(52) & 0xffff) == 0 && table.u8(54) == 0;  // segment 0, from bus 0 on
  if (first && table.u64(44) < reachable) acpi.ecam = table.u64(44);
}

void read_fadt(Bytes table) {
  std::uint32_t flags = table.u32(112);
  acpi.hardware_reduced = (flags & flag_hardware_reduced) != 0;
  if ((flags & flag_reset) != 0) {
    reset_space = table.u8(116);
    reset_register = table.u64(120);
    reset_value = table.u8(128);
  }
  if (!acpi.hardware_reduced) pm1a_control = static_cast<std::uint16_t>(table.u32(64));
  if (table.size >= 256) {
    sleep_control_space = table.u8(244);
    sleep_control = table.u64(248);
  }
  std::uint64_t dsdt = table.size >= 148 ? table.u64(140) : 0;
  if (dsdt == 0) dsdt = table.u32(40);
  if (dsdt != 0 && dsdt < reachable) read_aml(table_at(dsdt));
}

void read_table(std::uint64_t address) {
  if (address == 0 || address >= reachable) return;
  Bytes table = table_at(address);
  std::uint32_t signature = table.u32(0);
  if (acpi.table_count < AcpiFacts::most_tables) acpi.tables[acpi.table_count++] = signature;
  if (signature == table_signature("APIC")) read_madt(table);
  if (signature == table_signature("FACP")) read_fadt(table);
  if (signature == table_signature("SSDT")) read_aml(table);
  if (signature == table_signature("MCFG")) read_mcfg(table);
}

void write_register(std::uint8_t space, std::uint64_t address, std::uint8_t value) {
  if (space == 1) {
    out8(static_cast<std::uint16_t>(address), value);
  } else {
    write8(address, value);
  }
}

// The effect may be asynchronous: give it a while before saying that nothing happened.
bool did_not_happen() {
  std::uint64_t start = rdtsc();
  while (rdtsc() - start < 4'000'000'000) pause();
  return false;
}

}  // namespace

void acpi_start(const BootInfo& info) {
  std::uint64_t rsdp = info.rsdp != 0 ? info.rsdp : scan_for_rsdp();
  if (rsdp == 0 || rsdp >= reachable) return;
  Bytes pointer{rsdp, 36};
  bool extended = pointer.u8(15) >= 2 && pointer.u64(24) != 0;
  std::uint64_t root = extended ? pointer.u64(24) : pointer.u32(16);
  if (root == 0 || root >= reachable) return;
  acpi.found = true;
  Bytes table = table_at(root);
  std::size_t step = extended ? 8 : 4;
  for (std::size_t at = 36; at + step <= table.size; at += step) {
    read_table(extended ? table.u64(at) : table.u32(at));
  }
}

bool acpi_power_off() {
  constexpr std::uint8_t enable_reduced = 1 << 5;
  constexpr std::uint16_t enable_full = 1 << 13;
  if (sleep_control != 0) {
    write_register(sleep_control_space, sleep_control, static_cast<std::uint8_t>((sleep_type << 2) | enable_reduced));
    return did_not_happen();
  }
  if (pm1a_control == 0) return false;
  out16(pm1a_control, static_cast<std::uint16_t>((sleep_type << 10) | enable_full));
  return did_not_happen();
}

bool acpi_report_crash() {
  if (acpi.panic_port == 0) return false;
  out8(acpi.panic_port, 1);
  return did_not_happen();
}

bool acpi_reset() {
  if (reset_register == 0) return false;
  write_register(reset_space, reset_register, reset_value);
  return did_not_happen();
}

}  // namespace guest
