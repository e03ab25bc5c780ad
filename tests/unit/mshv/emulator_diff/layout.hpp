// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The guest that both sides run a case in: one megabyte, with a hole that is a device and a page of ROM. Linear
// addresses are physical ones, but for a few pages of the window where paging is on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <trivet/core/registers_x86_64.hpp>

namespace diff {

using Memory = std::span<std::byte>;

inline constexpr std::uint64_t memory_size = 0x100000;
inline constexpr std::uint64_t page = 0x1000;

inline constexpr std::uint64_t gdt_at = 0x1000;
inline constexpr std::uint64_t exception_stack_top = 0x5000;
inline constexpr std::uint64_t handlers_at = 0x5000;  // 16 bytes each: HLT
inline constexpr std::uint64_t code_at = 0x8000;      // two pages
inline constexpr std::uint64_t code_end = 0xa000;
inline constexpr std::uint64_t stack_at = 0xa000;  // two pages
inline constexpr std::uint64_t stack_end = 0xc000;
inline constexpr std::uint64_t tables_at = 0x20000;
inline constexpr std::uint64_t tables_end = 0x30000;

// The window that operands lie in.
inline constexpr std::uint64_t window_at = 0x80000;
inline constexpr std::uint64_t device_at = 0x82000;
inline constexpr std::uint64_t device_end = 0x84000;
inline constexpr std::uint64_t rom_at = 0x86000;
inline constexpr std::uint64_t rom_end = 0x87000;
inline constexpr std::uint64_t special_at = 0x88000;  // with paging: see `window_page`
inline constexpr std::uint64_t window_end = 0x90000;

inline constexpr std::uint16_t end_port = 0xfe;   // what a program without privilege ends with
inline constexpr std::uint16_t open_port = 0x10;  // 8 ports that the task state's bitmap lets everyone use

inline constexpr std::uint16_t data_selector = 0x10, user_data_selector = 0x33;
inline constexpr std::array<std::uint16_t, 10> selectors{0x00, 0x10, 0x58, 0x60, 0x68, 0x70, 0x33, 0x08, 0xfff8, 0x1c};

enum class Mode : std::uint8_t { long64, compat32, pae32, legacy32, flat32, protected16, real16 };
inline constexpr std::array all_modes{Mode::long64, Mode::compat32,    Mode::pae32, Mode::legacy32,
                                      Mode::flat32, Mode::protected16, Mode::real16};
[[nodiscard]] std::string_view to_string(Mode mode);
[[nodiscard]] inline bool has_paging(Mode mode) {
  return mode <= Mode::legacy32;
}
[[nodiscard]] inline bool has_32bit_code(Mode mode) {
  return mode >= Mode::compat32 && mode <= Mode::flat32;
}

/// Where a linear address of the first megabyte lies; `memory_size` where paging has nothing there.
[[nodiscard]] std::uint64_t physical_of(Mode mode, std::uint64_t linear);

/// The parts of the tables that an instruction may change: what the processor marks as accessed and dirty.
struct Part {
  std::uint64_t at, size;
};
inline constexpr std::array<Part, 4> marked_parts{{{gdt_at, 0x80}, {0x23400, 0x80}, {0x26400, 0x80}, {0x29200, 0x40}}};

/// Writes descriptor tables, task states, handlers and page tables; nothing else of `memory` is touched.
void build_tables(Memory memory);

/// Segments, control registers and tables of a mode, over what the hypervisor starts a vCPU with.
[[nodiscard]] trivet::SystemRegisters system_for(Mode mode, bool user, const trivet::SystemRegisters& fresh);

/// A data segment.
[[nodiscard]] trivet::Segment data_segment(std::uint16_t selector, std::uint64_t base, std::uint32_t limit, bool user,
                                           bool big, std::uint8_t type = 3);

[[nodiscard]] inline bool is_device(std::uint64_t physical) {
  return physical >= device_at && physical < device_end;
}
[[nodiscard]] inline bool is_rom(std::uint64_t physical) {
  return physical >= rom_at && physical < rom_end;
}

}  // namespace diff
