// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "interrupts.hpp"
#include "lapic.hpp"
#include "scenarios.hpp"

namespace guest {

// Runs for ever, now without exits, now with: the kicks must find it everywhere.
void kick_target(const BootInfo&) {
  for (std::uint64_t i = 1; mailbox().go == 0; ++i) {
    mailbox().count = i;
    if (i % 64 == 0) out8(trivet_guest::port_doorbell, 0);
    if (i % 256 == 0) (void)read32(trivet_guest::mmio_window);
  }
}

// Halted with interrupts off or, if the host says so, on, where none comes: only a kick makes the host's run return.
void kick_halted(const BootInfo&) {
  sync(1);
  if (mailbox().argument[0] != 0) asm volatile("sti; hlt" ::: "memory");
  asm volatile("cli; hlt" ::: "memory");
  finish_failed(__LINE__);
}

}  // namespace guest
