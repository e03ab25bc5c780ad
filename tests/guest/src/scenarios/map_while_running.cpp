// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

// A host thread maps and unmaps one region while this loops on it, without exits of its own while it is mapped.
namespace guest {

void map_while_running(const BootInfo&) {
  constexpr std::uint64_t at = trivet_guest::moving_region;
  std::uint64_t rounds = mailbox().argument[0];
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    mailbox().go = 2 * round - 1;  // wants it mapped
    while (read64(at + 8) != round) pause();
    write64(at, round * 0x0101010101010101);
    mailbox().go = 2 * round;  // wants it gone
    while (read64(at + 8) != ~std::uint64_t{0}) pause();
  }
}

}  // namespace guest
