// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdint>

#include <trivet/core/page_walk_x86_64.hpp>

namespace trivet {
namespace {

constexpr std::uint64_t cr0_paging = 1ULL << 31;
constexpr std::uint64_t cr4_pse = 1ULL << 4;
constexpr std::uint64_t cr4_pae = 1ULL << 5;
constexpr std::uint64_t cr4_la57 = 1ULL << 12;
constexpr std::uint64_t efer_lma = 1ULL << 10;

constexpr std::uint64_t entry_present = 1ULL << 0;
constexpr std::uint64_t entry_writable = 1ULL << 1;
constexpr std::uint64_t entry_user = 1ULL << 2;
constexpr std::uint64_t entry_large = 1ULL << 7;
constexpr std::uint64_t entry_address = 0x000f'ffff'ffff'f000;

struct Walk {
  const ReadGuest& read;
  bool writable = true;
  bool user = true;
};

std::optional<std::uint64_t> entry_at(const Walk& walk, std::uint64_t at, std::size_t bytes) {
  std::uint64_t entry = 0;  // little-endian: a 4-byte entry fills the lower half
  if (!walk.read(GuestAddress{at}, &entry, bytes) || (entry & entry_present) == 0) return std::nullopt;
  return entry;
}

void narrow(Walk& walk, std::uint64_t entry) {
  walk.writable = walk.writable && (entry & entry_writable) != 0;
  walk.user = walk.user && (entry & entry_user) != 0;
}

Translation found(const Walk& walk, std::uint64_t base, std::uint64_t at, unsigned shift) {
  const std::uint64_t mask = (std::uint64_t{1} << shift) - 1;
  return {GuestAddress{(base & ~mask) | (at & mask)}, walk.writable, walk.user};
}

/// 8-byte entries, `levels` of 9 bits each.
std::optional<Translation> walk_long(Walk walk, std::uint64_t table, std::uint64_t at, unsigned levels) {
  for (unsigned level = levels; level > 0; --level) {
    const unsigned shift = 12 + 9 * (level - 1);
    const auto entry = entry_at(walk, table + ((at >> shift) & 0x1ff) * 8, 8);
    if (!entry) return std::nullopt;
    narrow(walk, *entry);
    const bool leaf = level == 1 || (level <= 3 && (*entry & entry_large) != 0);
    if (leaf) return found(walk, *entry & entry_address, at, shift);
    table = *entry & entry_address;
  }
  return std::nullopt;
}

/// Four pointers without permissions, then two levels.
std::optional<Translation> walk_pae(const Walk& walk, std::uint64_t cr3, std::uint64_t at) {
  const auto pointer = entry_at(walk, (cr3 & 0xffff'ffe0) + ((at >> 30) & 3) * 8, 8);
  if (!pointer) return std::nullopt;
  return walk_long(walk, *pointer & entry_address, at, 2);
}

std::optional<Translation> walk_legacy(Walk walk, std::uint64_t cr3, std::uint64_t at, bool large_pages) {
  const auto directory = entry_at(walk, (cr3 & 0xffff'f000) + ((at >> 22) & 0x3ff) * 4, 4);
  if (!directory) return std::nullopt;
  narrow(walk, *directory);
  if (large_pages && (*directory & entry_large) != 0) {
    // PSE-36: bits 13-20 are address bits 32-39.
    return found(walk, (*directory & 0xffc0'0000) | ((*directory >> 13 & 0xff) << 32), at, 22);
  }
  const auto page = entry_at(walk, (*directory & 0xffff'f000) + ((at >> 12) & 0x3ff) * 4, 4);
  if (!page) return std::nullopt;
  narrow(walk, *page);
  return found(walk, *page & 0xffff'f000, at, 12);
}

bool canonical(std::uint64_t at, unsigned bits) {
  const auto top = static_cast<std::int64_t>(at << (64 - bits)) >> (64 - bits);
  return static_cast<std::uint64_t>(top) == at;
}

}  // namespace

std::optional<Translation> walk_pages(const SystemRegisters& system, GuestVirtualAddress at, const ReadGuest& read) {
  const Walk walk{read};
  if ((system.cr0 & cr0_paging) == 0) return Translation{GuestAddress{at.value}, true, true};
  if ((system.efer & efer_lma) != 0) {
    const unsigned levels = (system.cr4 & cr4_la57) != 0 ? 5 : 4;
    if (!canonical(at.value, 12 + 9 * levels)) return std::nullopt;
    return walk_long(walk, system.cr3 & entry_address, at.value, levels);
  }
  const auto low = at.value & 0xffff'ffff;
  if ((system.cr4 & cr4_pae) != 0) return walk_pae(walk, system.cr3, low);
  return walk_legacy(walk, system.cr3, low, (system.cr4 & cr4_pse) != 0);
}

}  // namespace trivet
