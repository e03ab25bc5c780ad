// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

namespace guest {

using trivet_guest::mmio_window;

void page_crossing(const BootInfo&) {
  std::uint64_t edge = mmio_window + 0x1000;
  write64(edge - 4, 0x1122334455667788);
  write32(edge - 1, 0xaabbccdd);
  write16(edge - 1, 0x5a5b);
  GUEST_CHECK(read64(edge - 4) == 0x11aabb5a5b667788);
  GUEST_CHECK(read32(edge - 2) == 0xbb5a5b66);
  GUEST_CHECK(read16(edge - 1) == 0x5a5b);
  // Half in RAM, half where nobody is, and the other way round.
  std::uint64_t top = trivet_guest::moving_region + trivet_guest::region_size;
  sync(1);
  write64(top - 4, 0x99aabbccddeeff00);
  GUEST_CHECK(read64(top - 4) == 0xffffffffddeeff00);
  GUEST_CHECK(word<std::uint32_t>(top - 4) == 0xddeeff00);
  std::uint64_t bottom = trivet_guest::moving_region;
  write32(bottom - 2, 0x01020304);
  GUEST_CHECK(word<std::uint16_t>(bottom) == 0x0102);
  GUEST_CHECK(read32(bottom - 2) == 0x0102ffff);
}

}  // namespace guest
