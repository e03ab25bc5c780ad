// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

// The host chooses the pages: in each round the mailbox holds a bitmap of them. Pages not in it are only read.
namespace guest {

void dirty_log(const BootInfo&) {
  constexpr std::uint64_t base = trivet_guest::moving_region;
  std::uint64_t pages = mailbox().argument[0];
  std::uint64_t rounds = mailbox().argument[1];
  for (std::uint64_t round = 0; round < rounds; ++round) {
    for (std::uint64_t page = 0; page < pages; ++page) {
      std::uint64_t at = base + page * 4096;
      std::uint64_t offset = (page * 424) & 0xff8;
      if ((mailbox().argument[2 + page / 64] >> (page % 64) & 1) == 0) {
        (void)read64(at + offset);
      } else if (page % 3 == 0) {
        asm volatile("lock orq $1, (%0)" ::"r"(at + offset) : "memory", "cc");
      } else {
        word<std::uint8_t>(at + offset) = static_cast<std::uint8_t>(round);
      }
    }
    sync(static_cast<std::uint32_t>(round + 1));
  }
  // One access, two pages.
  word<std::uint64_t>(base + 5 * 4096 - 4) = 1;
  sync(static_cast<std::uint32_t>(rounds + 1));
}

}  // namespace guest
