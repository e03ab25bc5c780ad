// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "abi/elf.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <limits>

#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/loader/elf.hpp>

#include "loader/elf_notes.hpp"
#include "loader/parse.hpp"

namespace trivet::vmm {
namespace {

constexpr auto operation = "load ELF kernel";
/// Linux has 5; a hundred times that is no kernel.
constexpr std::uint16_t most_program_headers = 256;

const char* machine_name(std::uint16_t machine) {
  switch (machine) {
    case abi::elf_machine_386:
      return "32-bit x86";
    case abi::elf_machine_aarch64:
      return "arm64";
    case abi::elf_machine_riscv:
      return "RISC-V";
    default:
      return "another processor";
  }
}

Error refused(const Image& image, std::string_view why) {
  return Error::unsupported(operation, why).within(image.name());
}

Result<abi::ElfHeader> read_header(const Image& image) {
  TRIVET_ASSIGN(const auto header, read_object<abi::ElfHeader>(image, 0));
  if (header.magic != abi::elf_magic) return image.malformed(operation, "no ELF magic number");
  if (header.file_class == abi::elf_class_32) return refused(image, "a 32-bit ELF; a 64-bit kernel is needed");
  if (header.file_class != abi::elf_class_64) {
    return image.malformed(operation, fmt::format("ELF class {} does not exist", header.file_class));
  }
  if (header.data != abi::elf_data_little) return refused(image, "a big-endian ELF; x86-64 is little-endian");
  if (const auto machine = header.machine.value(); machine != abi::elf_machine_x86_64) {
    return refused(image, fmt::format("made for {} (ELF machine {}), not for x86-64", machine_name(machine), machine));
  }
  const auto type = header.type.value();
  if (type != abi::elf_type_executable && type != abi::elf_type_shared) {
    return refused(image, fmt::format("ELF type {} is not an executable (an object file or a core?)", type));
  }
  if (header.program_header_size.value() != sizeof(abi::ElfProgramHeader)) {
    return image.malformed(operation, fmt::format("program headers of {} bytes; ELF64 has {}",
                                                  header.program_header_size.value(), sizeof(abi::ElfProgramHeader)));
  }
  const auto count = header.program_header_count.value();
  if (count == 0) return image.malformed(operation, "no program headers: nothing says what to load");
  if (count > most_program_headers) {
    return image.malformed(operation,
                           fmt::format("{} program headers; at most {} are accepted", count, most_program_headers));
  }
  return header;
}

Result<std::vector<abi::ElfProgramHeader>> read_program_headers(const Image& image, const abi::ElfHeader& header) {
  std::vector<abi::ElfProgramHeader> headers(header.program_header_count.value());
  TRIVET_TRY(image.read(header.program_headers.value(), std::as_writable_bytes(std::span(headers))));
  return headers;
}

/// Nothing for a segment without memory.
Result<std::optional<ElfSegment>> check_segment(const Image& image, const abi::ElfProgramHeader& header,
                                                std::size_t index) {
  const auto offset = header.offset.value();
  const auto file_size = header.file_size.value();
  const auto size = header.memory_size.value();
  const auto at = header.physical_address.value();
  if (file_size > size) {
    return image.malformed(operation,
                           fmt::format("segment {} has {} bytes in the file for {} in memory", index, file_size, size));
  }
  if (!image.contains(offset, file_size)) {
    return image.malformed(operation, fmt::format("truncated: segment {} is {} bytes at offset {:#x}, the file has {}",
                                                  index, file_size, offset, image.size()));
  }
  if (size == 0) return std::optional<ElfSegment>{};
  const auto range = GuestRange::create({at}, size);
  if (!range) {
    return image.malformed(
        operation, fmt::format("segment {}: {:#x} bytes at {:#x} wrap around the end of memory", index, size, at));
  }
  return std::optional<ElfSegment>{ElfSegment{*range, offset, file_size}};
}

Result<std::vector<ElfSegment>> read_segments(const Image& image, std::span<const abi::ElfProgramHeader> headers) {
  std::vector<ElfSegment> segments;
  for (std::size_t index = 0; index < headers.size(); ++index) {
    if (headers[index].type.value() != abi::elf_segment_load) continue;
    TRIVET_ASSIGN(const auto segment, check_segment(image, headers[index], index));
    if (segment) segments.push_back(*segment);
  }
  if (segments.empty()) return image.malformed(operation, "no segment to load");
  std::sort(segments.begin(), segments.end(),
            [](const auto& a, const auto& b) { return a.range.start < b.range.start; });
  for (std::size_t i = 1; i < segments.size(); ++i) {
    if (!segments[i - 1].range.overlaps(segments[i].range)) continue;
    return image.malformed(operation, fmt::format("segments at {:#x} and {:#x} overlap",
                                                  segments[i - 1].range.start.value, segments[i].range.start.value));
  }
  return segments;
}

bool is_entry(const ElfKernel& kernel, GuestAddress at) {
  if (at >= layout::high_ram) return false;
  return std::any_of(kernel.segments.begin(), kernel.segments.end(),
                     [&](const auto& segment) { return segment.range.contains(at); });
}

}  // namespace

GuestRange ElfKernel::extent() const {
  if (segments.empty()) return {};
  const auto first = segments.front().range.start;
  return {first, segments.back().range.last().value - first.value + 1};
}

Result<ElfKernel> parse_elf(const Image& image) {
  TRIVET_ASSIGN(const auto header, read_header(image));
  TRIVET_ASSIGN(const auto headers, read_program_headers(image, header));
  ElfKernel kernel;
  TRIVET_ASSIGN(kernel.segments, read_segments(image, headers));
  TRIVET_ASSIGN(kernel.pvh_entry, find_pvh_entry(image, headers));
  if (kernel.pvh_entry && !is_entry(kernel, *kernel.pvh_entry)) {
    return image.malformed(operation,
                           fmt::format("its PVH entry {:#x} is in no segment below 4 GiB", kernel.pvh_entry->value));
  }
  const GuestAddress entry{header.entry.value()};
  if (is_entry(kernel, entry)) kernel.entry = entry;
  if (!kernel.entry && !kernel.pvh_entry) {
    return image.malformed(
        operation, fmt::format("its entry {:#x} is in no segment below 4 GiB and it has no PVH note", entry.value));
  }
  return kernel;
}

}  // namespace trivet::vmm
