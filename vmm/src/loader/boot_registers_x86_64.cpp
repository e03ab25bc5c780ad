// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <span>

#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/loader/boot_registers_x86_64.hpp>

namespace trivet::vmm {
namespace {

// Linux wants its code at selector 0x10 and its data at 0x18 (__BOOT_CS, __BOOT_DS).
constexpr std::uint16_t code_selector = 0x10;
constexpr std::uint16_t data_selector = 0x18;
constexpr std::uint16_t task_selector = 0x20;
constexpr std::uint8_t code_type = 0xb;  // execute, read, accessed
constexpr std::uint8_t data_type = 0x3;  // read, write, accessed
constexpr std::uint8_t task_type = 0xb;  // busy task state segment
constexpr std::uint8_t ldt_type = 0x2;
constexpr std::uint16_t task_limit = 0x67;

constexpr std::uint64_t cr0_protection = 1U << 0;
constexpr std::uint64_t cr0_extension_type = 1U << 4;
constexpr std::uint64_t cr0_paging = 1U << 31;
constexpr std::uint64_t cr4_physical_address_extension = 1U << 5;
constexpr std::uint64_t efer_long_mode_enable = 1U << 8;
constexpr std::uint64_t efer_long_mode_active = 1U << 10;
constexpr std::uint64_t apic_boot_processor = 1U << 8;
constexpr std::uint64_t apic_enable = 1U << 11;

constexpr std::uint32_t msr_mtrr_default_type = 0x2ff;
constexpr std::uint64_t mtrr_enable = 1U << 11;
constexpr std::uint64_t mtrr_write_back = 6;

constexpr std::uint64_t page_present = 1U << 0;
constexpr std::uint64_t page_writable = 1U << 1;
constexpr std::uint64_t page_large = 1U << 7;
constexpr std::size_t table_entries = 512;
constexpr std::size_t directories = 4;  // of 1 GiB each

constexpr std::array<std::uint64_t, 6> descriptors{
    0,
    0,
    0x00af'9b00'0000'ffff,  // 64-bit code
    0x00cf'9300'0000'ffff,  // data
    0x0080'8b00'0000'0067,  // task state segment at 0, 16 bytes long in long mode
    0,
};

Segment flat(std::uint16_t selector, std::uint8_t type) {
  Segment segment;
  segment.limit = 0xffff'ffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = true;
  segment.code_or_data = true;
  segment.default_big = true;
  segment.granularity = true;
  return segment;
}

Segment task() {
  Segment segment;
  segment.limit = task_limit;
  segment.type = task_type;
  segment.present = true;
  return segment;
}

Segment local_table() {
  Segment segment;
  segment.limit = 0xffff;
  segment.type = ldt_type;
  segment.present = true;
  return segment;
}

SystemRegisters protected_mode() {
  SystemRegisters system;
  system.cs = flat(code_selector, code_type);
  system.ds = flat(data_selector, data_type);
  system.es = system.fs = system.gs = system.ss = system.ds;
  system.tr = task();
  system.ldt = local_table();
  system.cr0 = cr0_protection | cr0_extension_type;
  system.apic_base = layout::local_apic.start.value | apic_boot_processor | apic_enable;
  return system;
}

}  // namespace

BootRegisters pvh_registers(GuestAddress entry, GuestAddress start_info) {
  BootRegisters registers;
  registers.general.rip = entry.value;
  registers.general.rbx = start_info.value;
  registers.system = protected_mode();
  return registers;
}

BootRegisters linux_64_registers(GuestAddress entry, GuestAddress boot_params) {
  BootRegisters registers;
  registers.general.rip = entry.value;
  registers.general.rsi = boot_params.value;
  registers.general.rsp = layout::boot_stack.value;
  registers.general.rbp = layout::boot_stack.value;
  auto& system = registers.system;
  system = protected_mode();
  system.cs.long_mode = true;
  system.cs.default_big = false;
  system.tr.selector = task_selector;
  system.gdt = {layout::boot_gdt.start.value, sizeof(descriptors) - 1};
  system.cr0 |= cr0_paging;
  system.cr3 = layout::boot_page_tables.start.value;
  system.cr4 = cr4_physical_address_extension;
  system.efer = efer_long_mode_enable | efer_long_mode_active;
  return registers;
}

BootRegisters reset_registers() {
  constexpr std::uint16_t selector = 0xf000;
  constexpr std::uint64_t code_base = 0xffff'0000;
  constexpr std::uint64_t vector = 0xfff0;
  constexpr std::uint64_t caching_off = 3U << 29;  // CD, NW
  Segment data;
  data.limit = 0xffff;
  data.type = data_type;
  data.present = true;
  data.code_or_data = true;
  BootRegisters registers;
  registers.general.rip = vector;
  auto& system = registers.system;
  system.ds = system.es = system.fs = system.gs = system.ss = data;
  system.cs = data;
  system.cs.selector = selector;
  system.cs.base = code_base;
  system.cs.type = code_type;
  system.tr = task();
  system.tr.limit = 0xffff;
  system.ldt = local_table();
  system.gdt = system.idt = {0, 0xffff};
  system.cr0 = caching_off | cr0_extension_type;
  system.apic_base = layout::local_apic.start.value | apic_boot_processor | apic_enable;
  return registers;
}

Result<void> write_long_mode_tables(const memory::GuestMemory& memory) {
  TRIVET_TRY(memory.write(layout::boot_gdt.start, std::as_bytes(std::span(descriptors))));
  const auto base = layout::boot_page_tables.start.value;
  // One page each: level 4, level 3, then four of level 2.
  std::vector<std::uint64_t> tables((2 + directories) * table_entries);
  tables[0] = (base + layout::page_size) | page_present | page_writable;
  for (std::size_t i = 0; i < directories; ++i) {
    tables[table_entries + i] = (base + (2 + i) * layout::page_size) | page_present | page_writable;
  }
  for (std::size_t i = 0; i < directories * table_entries; ++i) {
    tables[2 * table_entries + i] = (i * 2 * layout::mebibyte) | page_present | page_writable | page_large;
  }
  return memory.write(layout::boot_page_tables.start, std::as_bytes(std::span(tables)));
}

std::vector<MsrValue> firmware_msrs() {
  return {{msr_mtrr_default_type, mtrr_enable | mtrr_write_back}};
}

}  // namespace trivet::vmm
