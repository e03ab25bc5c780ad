// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

namespace guest {

void posted_writes(const BootInfo&) {
  std::uint64_t count = mailbox().argument[0];
  for (std::uint64_t i = 0; i < count; ++i) {
    write32(trivet_guest::mmio_posted + (i % 16) * 4, static_cast<std::uint32_t>(i * 3));
  }
  GUEST_CHECK(read8(trivet_guest::mmio_window) == trivet_guest::test_pattern(0));
  for (std::uint64_t i = 0; i < 5; ++i) {
    write64(trivet_guest::mmio_posted, i);
    write32(trivet_guest::mmio_window + 8, static_cast<std::uint32_t>(i));
  }
}

}  // namespace guest
