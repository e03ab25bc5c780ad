// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

extern "C" std::uint64_t boot_pml4[512];
extern "C" std::uint64_t boot_pdpt[512];
extern "C" std::uint64_t spare_directory[512];

namespace guest {
namespace {

// Maps the 2 MiB page that holds `physical` at `address`, in the one GiB above 4 GiB that this guest can map.
void map_high(std::uint64_t address, std::uint64_t physical, std::uint64_t flags) {
  boot_pdpt[address >> 30] = reinterpret_cast<std::uint64_t>(spare_directory) + 0x23;
  spare_directory[(address >> 21) & 511] = (physical & ~std::uint64_t{0x1fffff}) | flags;
  flush_tlb();
}

}  // namespace

// Regions from every source, one after the other; the host says where.
void memory_sources(const BootInfo&) {
  std::uint64_t count = mailbox().argument[0];
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t at = mailbox().argument[1 + 2 * i];
    std::uint64_t size = mailbox().argument[2 + 2 * i];
    if (at >= 0x1'0000'0000) map_high(at, at, 0xe3);
    for (std::uint64_t offset = 0; offset < size; offset += 4096) {
      GUEST_CHECK(word<std::uint64_t>(at + offset) == at + offset);
      word<std::uint64_t>(at + offset + 8) = ~(at + offset);
    }
  }
}

void translate(const BootInfo&) {
  std::uint64_t high = mailbox().argument[0];
  map_high(high, trivet_guest::scratch, 0xe1);             // supervisor, read-only
  map_high(high + 0x200000, trivet_guest::scratch, 0xe7);  // user, writable
  boot_pml4[0] |= 4;
  boot_pdpt[high >> 30] |= 4;
  sync(1);
}

}  // namespace guest
