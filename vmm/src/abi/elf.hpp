// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Source: System V Application Binary Interface, chapters 4 and 5 (ELF64); the processor numbers from its supplements.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "abi/endian.hpp"

namespace trivet::vmm::abi {

inline constexpr std::array<std::uint8_t, 4> elf_magic{0x7f, 'E', 'L', 'F'};
inline constexpr std::uint8_t elf_class_32 = 1;
inline constexpr std::uint8_t elf_class_64 = 2;
inline constexpr std::uint8_t elf_data_little = 1;
inline constexpr std::uint16_t elf_type_executable = 2;
inline constexpr std::uint16_t elf_type_shared = 3;
inline constexpr std::uint16_t elf_machine_386 = 3;
inline constexpr std::uint16_t elf_machine_x86_64 = 62;
inline constexpr std::uint16_t elf_machine_aarch64 = 183;
inline constexpr std::uint16_t elf_machine_riscv = 243;
inline constexpr std::uint16_t elf_many_program_headers = 0xffff;  // PN_XNUM
inline constexpr std::uint32_t elf_segment_load = 1;
inline constexpr std::uint32_t elf_segment_note = 4;

struct ElfHeader {
  std::array<std::uint8_t, 4> magic;  // 0
  std::uint8_t file_class;            // 4
  std::uint8_t data;                  // 5
  std::uint8_t ident_version;         // 6
  std::array<std::uint8_t, 9> pad;    // 7
  le16 type;                          // 16
  le16 machine;                       // 18
  le32 version;                       // 20
  le64 entry;                         // 24
  le64 program_headers;               // 32
  le64 section_headers;               // 40
  le32 flags;                         // 48
  le16 header_size;                   // 52
  le16 program_header_size;           // 54
  le16 program_header_count;          // 56
  le16 section_header_size;           // 58
  le16 section_header_count;          // 60
  le16 section_names;                 // 62
};
static_assert(sizeof(ElfHeader) == 64);
static_assert(offsetof(ElfHeader, entry) == 24);
static_assert(offsetof(ElfHeader, program_header_count) == 56);

struct ElfProgramHeader {
  le32 type;              // 0
  le32 flags;             // 4
  le64 offset;            // 8
  le64 virtual_address;   // 16
  le64 physical_address;  // 24
  le64 file_size;         // 32
  le64 memory_size;       // 40
  le64 alignment;         // 48
};
static_assert(sizeof(ElfProgramHeader) == 56);
static_assert(offsetof(ElfProgramHeader, physical_address) == 24);
static_assert(offsetof(ElfProgramHeader, alignment) == 48);

struct ElfNoteHeader {
  le32 name_size;         // 0, with the closing zero
  le32 description_size;  // 4
  le32 type;              // 8
};
static_assert(sizeof(ElfNoteHeader) == 12);

// xen/include/public/elfnote.h: the physical address of the 32-bit PVH entry, 4 or 8 bytes.
inline constexpr std::uint32_t xen_note_phys32_entry = 18;

}  // namespace trivet::vmm::abi
