// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "interrupts.hpp"
#include "lapic.hpp"
#include "scenarios.hpp"
#include "smp.hpp"

namespace guest {
namespace {

constexpr std::uint8_t ping_vector = 0x81;
volatile std::uint64_t pings = 0;

void on_ping(InterruptFrame&) {
  __atomic_fetch_add(&pings, 1, __ATOMIC_SEQ_CST);
  lapic_end_of_interrupt();
}

// Each processor adds to a shared word, tells the host its number, and then answers pings.
void work(std::uint32_t number) {
  lapic_start(false);
  for (int i = 0; i < 1000; ++i) __atomic_fetch_add(&mailbox().count, 1, __ATOMIC_SEQ_CST);
  out32(trivet_guest::port_value, number);
  for (;;) wait_for_interrupt();
}

}  // namespace

void multi_vcpu(const BootInfo& info) {
  static std::uint32_t ids[trivet_guest::mailbox_words];
  std::uint64_t count = mailbox().argument[0];
  for (std::uint64_t i = 0; i < count; ++i) ids[i] = static_cast<std::uint32_t>(mailbox().argument[1 + i]);
  set_handler(ping_vector, on_ping);
  lapic_start(false);
  GUEST_CHECK(lapic_id() == ids[0]);
  GUEST_CHECK(start_processors(info, ids, count, work) == count - 1);
  while (mailbox().count < 1000 * (count - 1)) pause();
  for (std::uint64_t i = 1; i < count; ++i) {
    for (int round = 0; round < 5; ++round) {
      std::uint64_t before = pings;
      lapic_send(ids[i], 0x4000 | ping_vector);
      while (pings == before) pause();
    }
  }
  GUEST_CHECK(pings == 5 * (count - 1));
  GUEST_CHECK(mailbox().count == 1000 * (count - 1));
}

}  // namespace guest
