// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "interrupts.hpp"
#include "lapic.hpp"
#include "scenarios.hpp"

namespace guest {
namespace {

volatile std::uint64_t timer_count = 0;

void on_timer(InterruptFrame&) {
  timer_count = timer_count + 1;
  lapic_end_of_interrupt();
}

void start_timer() {
  constexpr std::uint8_t vector = 0x71;
  constexpr std::uint32_t periodic = 1u << 17;
  lapic_start(false);
  set_handler(vector, on_timer);
  lapic_write(LapicRegister::timer_divide, 0x3);  // by 16
  lapic_write(LapicRegister::timer, periodic | vector);
  lapic_write(LapicRegister::timer_initial, 1'000'000);
}

}  // namespace

// Something in every state element, and then the host reads, writes and compares.
void state_elements(const BootInfo&) {
  start_timer();
  wrmsr(0xc0000082, 0x1234567890);  // LSTAR
  wrmsr(0xc0000102, 0x7654321000);  // KERNEL_GS_BASE
  asm volatile("movq %0, %%dr1" ::"r"(std::uint64_t{0x123456}));
  sync(1);
  GUEST_CHECK(rdmsr(0xc0000082) == 0x1234567890);
  GUEST_CHECK(rdmsr(0xc0000102) == 0x7654321000);
  std::uint64_t dr1;
  asm volatile("movq %%dr1, %0" : "=r"(dr1));
  GUEST_CHECK(dr1 == 0x123456);
}

// Counts in registers and in memory while a timer interrupts it; the host moves it to another VM again and again. At
// the end the two counts and the flags of the loop agree, and the timer has ticked in every VM.
void save_restore(const BootInfo&) {
  start_timer();
  std::uint64_t count = 0;
  std::uint64_t check = 0;
  std::uint64_t start = rdtsc();
  std::uint64_t last = start;
  enable_interrupts();
  while (mailbox().go == 0) {
    asm volatile(
        "incq %0\n"
        "incq %2\n"
        "leaq (%1, %0), %1\n"
        : "+r"(count), "+r"(check), "+m"(const_cast<std::uint64_t&>(mailbox().count))::"memory", "cc");
    if (count % 16 == 0) {
      out32(trivet_guest::port_value, static_cast<std::uint32_t>(count));
      std::uint64_t now = rdtsc();
      GUEST_CHECK(now >= last);
      last = now;
      mailbox().result[0] = timer_count;
    }
    GUEST_CHECK(mailbox().count == count);
  }
  disable_interrupts();
  GUEST_CHECK(check == count * (count + 1) / 2);
  mailbox().result[1] = count;
}

// A whole run that the host starts over from the first instruction, with nothing left of the first time.
void reset(const BootInfo&) {
  static volatile std::uint32_t runs = 0;
  runs = runs + 1;
  start_timer();
  enable_interrupts();
  while (timer_count == 0) pause();
  disable_interrupts();
  wrmsr(0xc0000082, rdmsr(0xc0000082) + 1);
  mailbox().result[0] = runs;
  mailbox().result[1] = rdmsr(0xc0000082);
}

}  // namespace guest
