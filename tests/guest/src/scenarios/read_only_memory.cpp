// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

namespace guest {

using trivet_guest::rom_region;

void read_only_memory(const BootInfo&) {
  for (std::uint64_t i = 0; i < 64; ++i) {
    GUEST_CHECK(word<std::uint8_t>(rom_region + i) == trivet_guest::test_pattern(i));
  }
  sync(1);  // no exit so far
  write8(rom_region + 1, 0x11);
  write16(rom_region + 2, 0x2233);
  write32(rom_region + 4, 0x44556677);
  write64(rom_region + 8, 0x8899aabbccddeeff);
  asm volatile("orl $0xff, (%0)" ::"r"(rom_region + 16) : "memory", "cc");
  sync(2);
  for (std::uint64_t i = 0; i < 64; ++i) {
    GUEST_CHECK(word<std::uint8_t>(rom_region + i) == trivet_guest::test_pattern(i));
  }
}

// The host put `mov eax, 0x600d; ret` at the second page.
void read_only_code(const BootInfo&) {
  std::uint32_t answer;
  asm volatile("call *%1" : "=a"(answer) : "r"(rom_region + 0x1000) : "memory");
  GUEST_CHECK(answer == 0x600d);
}

}  // namespace guest
