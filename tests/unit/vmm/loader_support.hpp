// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Small sound kernels to break in one place, and memory to load them into.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <span>
#include <string>
#include <unistd.h>
#include <vector>

#include <trivet/memory/guest_memory.hpp>
#include <trivet/vmm/layout_x86_64.hpp>

#include "abi/elf.hpp"
#include "abi/linux_boot.hpp"

namespace trivet::vmm::testing {

using Contents = std::vector<std::byte>;

/// Anonymous memory at each range.
inline std::shared_ptr<const memory::GuestMemory> make_memory(std::vector<GuestRange> ranges) {
  memory::GuestMemory::Regions regions;
  for (const auto& range : ranges) {
    auto mapping = memory::Mapping::anonymous(range.size);
    EXPECT_TRUE(mapping.has_value());
    auto region = memory::Region::create(range.start, std::move(*mapping));
    EXPECT_TRUE(region.has_value());
    regions.push_back(*region);
  }
  return *memory::GuestMemory::create(std::move(regions));
}

inline std::shared_ptr<const memory::GuestMemory> make_memory(std::uint64_t bytes) {
  return make_memory(std::vector<GuestRange>{{{0}, bytes}});
}

/// A folder that is gone at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    auto name = (std::filesystem::temp_directory_path() / "trivet-test-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] std::string path(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, std::span<const std::byte> bytes) const {
    std::ofstream out(path(name), std::ios::binary);
    for (const auto byte : bytes) out.put(std::to_integer<char>(byte));
    return path(name);
  }

 private:
  std::filesystem::path path_;
};

template <class T>
void put(Contents& bytes, std::size_t at, const T& object) {
  if (bytes.size() < at + sizeof(T)) bytes.resize(at + sizeof(T));
  std::memcpy(bytes.data() + at, &object, sizeof(T));
}

inline Contents pattern(std::size_t size, unsigned seed = 1) {
  Contents bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i * 7 + (i >> 8) + seed) & 0xff);
  return bytes;
}

/// An ELF64 with one load segment of two pages at 1 MiB (and a third of zeroes) and a PVH note.
struct ElfMaker {
  static constexpr std::uint64_t segment_offset = 0x1000;
  static constexpr std::uint64_t segment_size = 0x2000;
  static constexpr std::uint64_t base = 0x10'0000;
  static constexpr std::uint64_t note_offset = 0x200;

  abi::ElfHeader header{};
  std::vector<abi::ElfProgramHeader> segments;
  Contents note;
  std::uint64_t size = segment_offset + segment_size;

  ElfMaker() {
    header.magic = abi::elf_magic;
    header.file_class = abi::elf_class_64;
    header.data = abi::elf_data_little;
    header.ident_version = 1;
    header.type = abi::elf_type_executable;
    header.machine = abi::elf_machine_x86_64;
    header.version = 1;
    header.entry = base + 0x40;
    header.program_headers = sizeof(header);
    header.header_size = sizeof(header);
    header.program_header_size = sizeof(abi::ElfProgramHeader);
    add(segment_offset, base, segment_size, segment_size + 0x1000);
    set_note(18, "Xen", std::uint64_t{base + 0x20});
  }

  void add(std::uint64_t offset, std::uint64_t at, std::uint64_t file_size, std::uint64_t memory_size) {
    abi::ElfProgramHeader segment{};
    segment.type = abi::elf_segment_load;
    segment.offset = offset;
    segment.physical_address = at;
    segment.file_size = file_size;
    segment.memory_size = memory_size;
    segment.alignment = 0x1000;
    segments.push_back(segment);
  }

  template <class T>
  void set_note(std::uint32_t type, const char (&name)[4], T description) {
    abi::ElfNoteHeader head{};
    head.name_size = 4;
    head.description_size = sizeof(description);
    head.type = type;
    note.clear();
    put(note, 0, head);
    put(note, sizeof(head), name);
    put(note, sizeof(head) + sizeof(name), description);
  }

  [[nodiscard]] Contents make() const {
    Contents bytes(size);
    const auto body = pattern(segment_size);
    std::copy(body.begin(), body.end(), bytes.begin() + segment_offset);
    std::copy(note.begin(), note.end(), bytes.begin() + note_offset);
    auto all = segments;
    if (!note.empty()) {
      abi::ElfProgramHeader segment{};
      segment.type = abi::elf_segment_note;
      segment.offset = note_offset;
      segment.file_size = note.size();
      segment.alignment = 4;
      all.push_back(segment);
    }
    auto head = header;
    if (head.program_header_count.value() == 0) head.program_header_count = static_cast<std::uint16_t>(all.size());
    put(bytes, 0, head);
    for (std::size_t i = 0; i < all.size(); ++i) put(bytes, sizeof(head) + i * sizeof(all[i]), all[i]);
    return bytes;
  }
};

/// A bzImage: one setup sector and 8 KiB of kernel, relocatable, wants 64 KiB at 2 MiB.
struct BzImageMaker {
  static constexpr std::uint64_t kernel_offset = 1024;
  static constexpr std::uint64_t kernel_size = 0x2000;
  static constexpr std::uint64_t preferred = 0x20'0000;
  static constexpr std::uint64_t needed = 0x1'0000;

  abi::SetupHeader header{};
  std::uint64_t size = kernel_offset + kernel_size;

  BzImageMaker() {
    header.setup_sectors = 1;
    header.size_16 = kernel_size / 16;
    header.boot_flag = abi::setup_boot_flag;
    header.jump = 0xeb;
    header.jump_length = 0x6a;
    header.magic = abi::setup_magic;
    header.version = 0x20f;
    header.load_flags = abi::setup_loaded_high | abi::setup_can_use_heap;
    header.initrd_last = 0x7fff'ffff;
    header.alignment = 0x20'0000;
    header.relocatable = 1;
    header.extended_load_flags = abi::setup_kernel_64;
    header.command_line_size = 2047;
    header.payload_offset = 0x300;
    header.payload_size = 0x1000;
    header.preferred_address = preferred;
    header.needed_size = needed;
    header.setup_data = 0x1234'5678;
  }

  [[nodiscard]] Contents make() const {
    Contents bytes(size);
    const auto body = pattern(kernel_size, 3);
    std::copy(body.begin(), body.end(), bytes.begin() + kernel_offset);
    put(bytes, abi::setup_header_offset, header);
    return bytes;
  }
};

}  // namespace trivet::vmm::testing
