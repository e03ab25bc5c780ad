// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The simulator's own page walk: it shares no code with what it tests.
#include "walk.hpp"

namespace trivet::mshv_sim {

std::optional<Walked> walk(const kvm_sregs& sregs, const GuestMemory& memory, std::uint64_t linear) {
  if ((sregs.cr0 & (1ULL << 31)) == 0) return Walked{linear & 0xffffffff};
  const bool pae = (sregs.cr4 & (1U << 5)) != 0;
  const bool lma = (sregs.efer & (1U << 10)) != 0;
  const unsigned entry_bytes = pae ? 8 : 4;
  const unsigned index_bits = pae ? 9 : 10;
  if (!lma) linear &= 0xffffffff;
  unsigned level = !pae ? 2 : !lma ? 3 : (sregs.cr4 & (1U << 12)) != 0 ? 5 : 4;
  std::uint64_t table = sregs.cr3 & (lma ? 0xffffffffff000 : pae ? 0xffffffe0 : 0xfffff000);
  Walked found;
  for (; level > 0; --level) {
    const unsigned shift = 12 + index_bits * (level - 1);
    const std::uint64_t index = linear >> shift & ((1U << index_bits) - 1);
    std::uint64_t entry = 0;
    if (!memory.read(table + index * entry_bytes, &entry, entry_bytes) || (entry & 1) == 0) return std::nullopt;
    const bool pointer = pae && !lma && level == 3;
    if (!pointer) {
      found.writable = found.writable && (entry & 2) != 0;
      found.user = found.user && (entry & 4) != 0;
    }
    const bool large = (entry & 0x80) != 0 && !pointer && (pae ? level == 2 || level == 3 : level == 2);
    const std::uint64_t mask = (1ULL << shift) - 1;
    if (level == 1 || large) {
      std::uint64_t base = entry & 0xffffffffff000 & ~mask;
      if (!pae && large) base |= (entry >> 13 & 0xff) << 32;
      found.gpa = base | (linear & mask);
      return found;
    }
    table = entry & 0xffffffffff000;
  }
  return std::nullopt;
}

}  // namespace trivet::mshv_sim
