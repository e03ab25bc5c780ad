// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

namespace guest {

void doorbell_memory(const BootInfo&) {
  constexpr std::uint64_t any = trivet_guest::mmio_doorbell;
  constexpr std::uint64_t matched = any + 8;
  std::uint64_t rounds = mailbox().argument[0];
  for (std::uint64_t i = 0; i < rounds; ++i) {
    write32(any, static_cast<std::uint32_t>(i));
    write32(matched, 1);
    if (i % 2 == 0) write32(matched, 2);
  }
  write16(any, 1);  // a doorbell of any size rings for any
  sync(1);
  write32(matched, 3);  // nobody's value
  write16(matched, 1);  // nobody's size
  sync(2);
  write32(any, 7);  // withdrawn by the host at the stage
}

void doorbell_port(const BootInfo&) {
  std::uint64_t rounds = mailbox().argument[0];
  for (std::uint64_t i = 0; i < rounds; ++i) {
    out16(trivet_guest::port_doorbell, 1);
    if (i % 2 == 0) out16(trivet_guest::port_doorbell, 2);
  }
  sync(1);
  out16(trivet_guest::port_doorbell, 3);
  sync(2);
  out16(trivet_guest::port_doorbell, 1);
}

}  // namespace guest
