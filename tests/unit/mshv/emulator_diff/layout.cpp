// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "layout.hpp"

#include <cpuid.h>
#include <cstring>

namespace diff {
namespace {

constexpr std::uint64_t idt64_at = 0x2000, idt32_at = 0x2800, ivt_at = 0x6000;
constexpr std::uint64_t tss64_at = 0x3000, tss32_at = 0x3400;
constexpr std::uint32_t tss_bitmap = 104, tss_limit = tss_bitmap + 32;
constexpr std::uint64_t long_root = 0x20000, pae_root = 0x24000, legacy_root = 0x28000;
constexpr std::uint16_t gdt_limit = 0x7f;

void put(Memory memory, std::uint64_t at, std::uint64_t value, std::size_t bytes) {
  std::memcpy(memory.data() + at, &value, bytes);
}

constexpr std::uint64_t descriptor(std::uint32_t base, std::uint32_t limit, unsigned access, unsigned flags) {
  return (limit & 0xffffU) | std::uint64_t{base & 0xff'ffff} << 16 | std::uint64_t{access} << 40 |
         std::uint64_t{limit >> 16 & 0xf} << 48 | std::uint64_t{flags} << 52 | std::uint64_t{base >> 24} << 56;
}

void build_gdt(Memory memory) {
  const std::array<std::uint64_t, 16> entries{
      0,
      descriptor(0, 0xfffff, 0x9b, 0xa),         // 08 code, 64 bits
      descriptor(0, 0xfffff, 0x93, 0xc),         // 10 data
      descriptor(0, 0xfffff, 0x9b, 0xc),         // 18 code, 32 bits
      descriptor(0, 0xfffff, 0x9b, 0x8),         // 20 code, 16 bits
      descriptor(0, 0xfffff, 0xfb, 0xa),         // 28 user code, 64 bits
      descriptor(0, 0xfffff, 0xf3, 0xc),         // 30 user data
      descriptor(0, 0xfffff, 0xfb, 0xc),         // 38 user code, 32 bits
      descriptor(0, 0xfffff, 0xfb, 0x8),         // 40 user code, 16 bits
      descriptor(tss64_at, tss_limit, 0x8b, 0),  // 48 task state, two entries in long mode
      0,
      descriptor(window_at, 0xffff, 0x91, 0x4),  // 58 data, read-only
      descriptor(window_at, 0xffff, 0x93, 0x0),  // 60 data, 16 bits
      descriptor(0, 0xfffff, 0x13, 0xc),         // 68 data, not present
      descriptor(0, 0xfffff, 0x92, 0xc),         // 70 data, never accessed
      0,
  };
  for (std::size_t i = 0; i < entries.size(); ++i) put(memory, gdt_at + 8 * i, entries[i], 8);
}

void build_interrupt_tables(Memory memory) {
  std::memset(memory.data() + handlers_at, 0xf4, page);
  for (std::uint64_t vector = 0; vector < 32; ++vector) {
    const std::uint64_t at = handlers_at + 16 * vector;
    put(memory, idt64_at + 16 * vector, (at & 0xffff) | 0x08ULL << 16 | 1ULL << 32 | 0x8eULL << 40, 8);
    put(memory, idt32_at + 8 * vector, (at & 0xffff) | 0x18ULL << 16 | 0x8eULL << 40, 8);
    put(memory, ivt_at + 4 * vector, at, 4);
  }
}

void build_task_states(Memory memory) {
  put(memory, tss64_at + 4, exception_stack_top, 8);   // RSP0
  put(memory, tss64_at + 36, exception_stack_top, 8);  // IST1
  put(memory, tss32_at + 4, exception_stack_top, 4);   // ESP0
  put(memory, tss32_at + 8, data_selector, 2);         // SS0
  for (const auto task : {tss64_at, tss32_at}) {
    put(memory, task + 102, tss_bitmap, 2);
    std::memset(memory.data() + task + tss_bitmap, 0xff, 33);
    memory[task + tss_bitmap + open_port / 8] = std::byte{0};
    memory[task + tss_bitmap + end_port / 8] = std::byte{0xbf};
  }
}

constexpr std::uint64_t present = 1, writable = 2, for_user = 4, accessed = 0x20, dirty = 0x40;

/// What a page of the first megabyte is mapped to.
std::uint64_t leaf_for(std::uint64_t linear) {
  if (linear < window_at || linear >= window_end) {
    const bool program = linear >= code_at && linear < stack_end;
    return linear | present | writable | accessed | dirty | (program ? for_user : 0);
  }
  switch ((linear - window_at) / page) {
    case 8:
      return 0;
    case 9:
      return window_at | present | for_user;
    case 10:
      return (window_at + page) | present | writable;
    case 11:
      return device_at | present | for_user;
    case 12:
      return (device_at + page) | present | writable;
    case 13:
      return (device_end + page) | present | writable | for_user;
    case 14:
      return device_at | present | writable | for_user;
    default:
      return linear | present | writable | for_user;
  }
}

void build_page_tables(Memory memory) {
  std::memset(memory.data() + tables_at, 0, tables_end - tables_at);
  constexpr std::uint64_t table = present | writable | for_user | accessed;
  put(memory, long_root, (long_root + 0x1000) | table, 8);
  put(memory, long_root + 0x1000, (long_root + 0x2000) | table, 8);
  put(memory, long_root + 0x2000, (long_root + 0x3000) | table, 8);
  put(memory, pae_root, (pae_root + 0x1000) | present, 8);
  put(memory, pae_root + 0x1000, (pae_root + 0x2000) | table, 8);
  put(memory, legacy_root, (legacy_root + 0x1000) | table, 4);
  for (std::uint64_t linear = 0; linear < memory_size; linear += page) {
    const std::uint64_t entry = leaf_for(linear);
    const std::uint64_t index = linear / page;
    put(memory, long_root + 0x3000 + 8 * index, entry, 8);
    put(memory, pae_root + 0x2000 + 8 * index, entry, 8);
    put(memory, legacy_root + 0x1000 + 4 * index, entry, 4);
  }
}

/// The task register's type. A busy task state (11) is what a processor keeps there, and Intel's insist on it; QEMU's
/// emulation of AMD's ends the whole machine unless it is an available one (9), which AMD's accept as well.
std::uint8_t task_type() {
  static const auto type = [] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    constexpr unsigned intel = 0x756e6547;
    const bool known = __get_cpuid(0, &eax, &ebx, &ecx, &edx) != 0;
    return static_cast<std::uint8_t>(known && ebx != intel ? 9 : 11);
  }();
  return type;
}

trivet::Segment code_segment(Mode mode, bool user) {
  trivet::Segment code;
  code.selector = static_cast<std::uint16_t>(user ? 0x2b : 0x08);
  if (has_32bit_code(mode)) code.selector = static_cast<std::uint16_t>(user ? 0x3b : 0x18);
  if (mode == Mode::protected16) code.selector = static_cast<std::uint16_t>(user ? 0x43 : 0x20);
  code.limit = 0xffff'ffff;
  code.type = 0xb;
  code.present = code.code_or_data = code.granularity = true;
  code.privilege = user ? 3 : 0;
  code.long_mode = mode == Mode::long64;
  code.default_big = has_32bit_code(mode);
  return code;
}

}  // namespace

std::uint64_t physical_of(Mode mode, std::uint64_t linear) {
  if (!has_paging(mode)) return linear;
  const std::uint64_t entry = linear < memory_size ? leaf_for(linear & ~(page - 1)) : 0;
  return (entry & present) == 0 ? memory_size : (entry & ~(page - 1)) | (linear & (page - 1));
}

std::string_view to_string(Mode mode) {
  constexpr std::array names{"long64", "compat32", "pae32", "legacy32", "flat32", "protected16", "real16"};
  return names[static_cast<unsigned>(mode)];
}

void build_tables(Memory memory) {
  build_gdt(memory);
  build_interrupt_tables(memory);
  build_task_states(memory);
  build_page_tables(memory);
}

trivet::Segment data_segment(std::uint16_t selector, std::uint64_t base, std::uint32_t limit, bool user, bool big,
                             std::uint8_t type) {
  trivet::Segment data;
  data.selector = selector;
  data.base = base;
  data.limit = limit;
  data.type = type;
  data.present = data.code_or_data = true;
  data.privilege = user ? 3 : 0;
  data.default_big = big;
  data.granularity = limit > 0xfffff;
  return data;
}

trivet::SystemRegisters system_for(Mode mode, bool user, const trivet::SystemRegisters& fresh) {
  auto system = fresh;
  constexpr std::uint64_t protection = 0x33, paging = 0x8000'0000;  // PE, MP, ET, NE
  const bool long_mode = mode <= Mode::compat32;
  system.cr0 = mode == Mode::real16 ? 0x32 : protection | (has_paging(mode) ? paging : 0);
  system.cr2 = 0;
  system.cr4 = 0x600 | (long_mode || mode == Mode::pae32 ? 0x20 : 0);  // OSFXSR, OSXMMEXCPT, PAE
  system.efer = long_mode ? 0x500 : 0;
  system.cr3 = long_mode ? long_root : mode == Mode::pae32 ? pae_root : mode == Mode::legacy32 ? legacy_root : 0;
  if (mode == Mode::real16) {
    for (auto* segment : {&system.cs, &system.ss, &system.ds, &system.es, &system.fs, &system.gs}) {
      *segment = data_segment(0, 0, 0xffff, false, false);
    }
    system.cs.type = 0xb;
    system.idt = {ivt_at, 0x3ff};
    return system;
  }
  system.cs = code_segment(mode, user);
  const auto selector = user ? user_data_selector : data_selector;
  for (auto* segment : {&system.ss, &system.ds, &system.es, &system.fs, &system.gs}) {
    *segment = data_segment(selector, 0, 0xffff'ffff, user, true);
  }
  system.gdt = {gdt_at, gdt_limit};
  system.idt = {long_mode ? idt64_at : idt32_at, static_cast<std::uint16_t>(long_mode ? 0x1ff : 0xff)};
  system.tr = data_segment(0x48, long_mode ? tss64_at : tss32_at, tss_limit, false, false, task_type());
  system.tr.code_or_data = false;
  system.ldt = {};
  system.ldt.unusable = true;
  return system;
}

}  // namespace diff
