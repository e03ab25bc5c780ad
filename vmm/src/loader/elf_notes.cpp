// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "loader/elf_notes.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>
#include <vector>

#include <trivet/vmm/layout_x86_64.hpp>

namespace trivet::vmm {
namespace {

constexpr auto operation = "read ELF notes";
constexpr std::uint64_t most_note_bytes = layout::mebibyte;
constexpr std::array<char, 4> xen_name{'X', 'e', 'n', '\0'};

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

/// The bytes of one note segment, taken apart.
class Notes {
 public:
  Notes(ConstBytes bytes, std::uint64_t alignment) : bytes_(bytes), alignment_(alignment) {}

  struct Note {
    std::uint32_t type = 0;
    ConstBytes name;
    ConstBytes description;
  };

  /// The next note, nothing at the end; false in `sound` when the sizes lie.
  std::optional<Note> next(bool& sound) {
    abi::ElfNoteHeader header;
    sound = true;
    if (at_ + sizeof(header) > bytes_.size()) return std::nullopt;
    std::memcpy(&header, bytes_.data() + at_, sizeof(header));
    // 32-bit sizes in 64-bit sums: nothing here can wrap.
    const std::uint64_t name_size = header.name_size.value();
    const std::uint64_t description_size = header.description_size.value();
    const auto name_at = at_ + sizeof(header);
    const auto description_at = round_up(name_at + name_size, alignment_);
    const auto end = description_at + description_size;
    if (name_at + name_size > bytes_.size() || end > bytes_.size()) {
      sound = false;
      return std::nullopt;
    }
    at_ = round_up(end, alignment_);
    return Note{header.type.value(), part(name_at, name_size), part(description_at, description_size)};
  }

 private:
  [[nodiscard]] ConstBytes part(std::uint64_t at, std::uint64_t size) const {
    return bytes_.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(size));
  }

  ConstBytes bytes_;
  std::uint64_t alignment_;
  std::uint64_t at_ = 0;
};

bool is_pvh_entry(const Notes::Note& note) {
  return note.type == abi::xen_note_phys32_entry && std::ranges::equal(note.name, std::as_bytes(std::span(xen_name)));
}

Result<GuestAddress> entry_of(const Image& image, ConstBytes description) {
  if (description.size() != 4 && description.size() != 8) {
    return image.malformed(operation,
                           fmt::format("the PVH entry note has {} bytes; 4 or 8 are an address", description.size()));
  }
  std::uint64_t entry = 0;
  for (std::size_t i = 0; i < description.size(); ++i) entry |= std::to_integer<std::uint64_t>(description[i]) << 8 * i;
  return GuestAddress{entry};
}

Result<std::optional<GuestAddress>> find_in(const Image& image, const abi::ElfProgramHeader& header) {
  const auto offset = header.offset.value();
  const auto size = header.file_size.value();
  if (!image.contains(offset, size)) {
    return image.malformed(operation, fmt::format("truncated: {} bytes of notes at offset {:#x}, the file has {}", size,
                                                  offset, image.size()));
  }
  if (size > most_note_bytes) {
    return image.malformed(operation, fmt::format("{} bytes of notes; at most {} are accepted", size, most_note_bytes));
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  TRIVET_TRY(image.read(offset, bytes));
  Notes notes(bytes, header.alignment.value() == 8 ? 8 : 4);
  bool sound = true;
  while (const auto note = notes.next(sound)) {
    if (!is_pvh_entry(*note)) continue;
    TRIVET_ASSIGN(const auto entry, entry_of(image, note->description));
    return std::optional<GuestAddress>{entry};
  }
  if (!sound) return image.malformed(operation, "a note's sizes reach beyond its segment");
  return std::optional<GuestAddress>{};
}

}  // namespace

Result<std::optional<GuestAddress>> find_pvh_entry(const Image& image, std::span<const abi::ElfProgramHeader> headers) {
  for (const auto& header : headers) {
    if (header.type.value() != abi::elf_segment_note) continue;
    TRIVET_ASSIGN(const auto entry, find_in(image, header));
    if (entry) return entry;
  }
  return std::optional<GuestAddress>{};
}

}  // namespace trivet::vmm
