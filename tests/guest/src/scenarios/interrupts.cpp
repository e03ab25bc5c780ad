// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "interrupts.hpp"

#include "ioapic.hpp"
#include "lapic.hpp"
#include "scenarios.hpp"

// The host raises at each stage; the handler counts. Every interrupt asked for comes once, none comes unasked.
namespace guest {
namespace {

constexpr std::uint8_t first_vector = 0x51;
constexpr std::uint8_t second_vector = 0x62;
volatile std::uint64_t first_count = 0;
volatile std::uint64_t second_count = 0;

void on_first(InterruptFrame&) {
  first_count = first_count + 1;
  lapic_end_of_interrupt();
}
void on_second(InterruptFrame&) {
  second_count = second_count + 1;
  lapic_end_of_interrupt();
}
// A level line: the device (the host) says in the mailbox whether it is asserting, and lowers it when told to, before
// the end of interrupt. An interrupt of a device that does not assert is one that was latched before the line fell:
// drivers know it by the same question, and there can be one for each fall.
void on_level(InterruptFrame&) {
  if (mailbox().go == 0) {
    second_count = second_count + 1;
  } else {
    first_count = first_count + 1;
    out32(trivet_guest::port_value, static_cast<std::uint32_t>(first_count));
  }
  lapic_end_of_interrupt();
}

void start(InterruptHandler first) {
  lapic_start(false);
  set_handler(first_vector, first);
  set_handler(second_vector, on_second);
}

// Halted; but not for ever when the interrupt came before the HLT: STI's shadow, which prevents that, is no part of a
// vCPU's state on every hypervisor (QEMU's emulated SVM forgets it when the host takes an interrupt there). The LAPIC's
// timer wakes it then.
void wait_until(volatile std::uint64_t& count, std::uint64_t wanted) {
  constexpr std::uint8_t vector = 0x31;
  set_handler(vector, [](InterruptFrame&) { lapic_end_of_interrupt(); });
  lapic_write(LapicRegister::timer_divide, 0x3);  // by 16
  lapic_write(LapicRegister::timer, 1u << 17 | vector);
  lapic_write(LapicRegister::timer_initial, 10'000'000);
  while (count < wanted) wait_for_interrupt();
  lapic_write(LapicRegister::timer_initial, 0);
}

// Lets whatever is pending come in.
void settle() {
  enable_interrupts();
  for (int i = 0; i < 200; ++i) pause();
  disable_interrupts();
}

}  // namespace

void line_edge(const BootInfo&) {
  start(on_first);
  pic_mask();
  ioapic_route(5, first_vector, false, lapic_id());
  ioapic_route(11, second_vector, false, lapic_id());
  std::uint64_t rounds = mailbox().argument[0];
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    sync(1);  // one edge on the first line
    wait_until(first_count, 2 * round - 1);
    settle();
    GUEST_CHECK(first_count == 2 * round - 1 && second_count == round - 1);
    sync(2);  // one on each
    wait_until(first_count, 2 * round);
    wait_until(second_count, round);
    settle();
    GUEST_CHECK(first_count == 2 * round && second_count == round);
  }
}

void line_level(const BootInfo&) {
  start(on_level);
  pic_mask();
  ioapic_route(10, first_vector, true, lapic_id());
  std::uint64_t rounds = mailbox().argument[0];
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    sync(1);  // up; the host lowers it when the handler has come twice
    wait_until(first_count, 2 * round);
    settle();
    GUEST_CHECK(first_count == 2 * round);
    GUEST_CHECK(second_count <= round);
  }
  mailbox().result[0] = second_count;
}

void line_resample(const BootInfo&) {
  start(on_first);
  pic_mask();
  ioapic_route(10, first_vector, true, lapic_id());
  std::uint64_t rounds = mailbox().argument[0];
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    sync(1);
    wait_until(first_count, round);
    settle();
    GUEST_CHECK(first_count == round);
    sync(2);  // the host has seen the end of interrupt
  }
}

// Also with a split controller. The host raises message 1 at stage 1, message 2 at stage 2, and at stage 3 the first
// route, which now carries the second message.
void msi(const BootInfo&) {
  start(on_first);
  mailbox().result[0] = lapic_id();
  mailbox().result[1] = first_vector;
  mailbox().result[2] = second_vector;
  sync(9);
  std::uint64_t rounds = mailbox().argument[0];
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    sync(1);
    wait_until(first_count, round);
    sync(2);
    wait_until(second_count, round);
    settle();
    GUEST_CHECK(first_count == round && second_count == round);
  }
  sync(3);
  wait_until(second_count, rounds + 1);
  settle();
  GUEST_CHECK(first_count == rounds && second_count == rounds + 1);
}

namespace {

// The PIT's counter 2 by port 0x61, as a kernel uses it to calibrate: polls for 25 ms, with interrupts on.
void spin_25_ms() {
  constexpr std::uint16_t count = 29829;
  out8(0x61, static_cast<std::uint8_t>((in8(0x61) & 0xfc) | 1));
  out8(0x43, 0xb0);  // counter 2, both bytes, interrupt on terminal count
  out8(0x42, count & 0xff);
  out8(0x42, count >> 8);
  enable_interrupts();
  while ((in8(0x61) & 0x20) == 0) pause();
  disable_interrupts();
}

}  // namespace

// PIC and PIT, in the hypervisor or the VMM: ticks at 100 Hz through LINT0 in ExtINT mode. The host times the stages.
void legacy_timer(const BootInfo&) {
  constexpr std::uint8_t master_vector = 0x40, slave_vector = 0x48;
  constexpr std::uint16_t count = 11932;
  constexpr std::uint32_t external = 7u << 8, masked = 1u << 16;
  lapic_start(false);
  lapic_write(LapicRegister::local_interrupt_0, masked | external);
  set_handler(master_vector, [](InterruptFrame&) {
    first_count = first_count + 1;
    out8(0x20, 0x20);
  });
  out8(0x20, 0x11);
  out8(0x21, master_vector);
  out8(0x21, 4);
  out8(0x21, 1);
  out8(0xa0, 0x11);
  out8(0xa1, slave_vector);
  out8(0xa1, 2);
  out8(0xa1, 1);
  out8(0xa1, 0xff);
  out8(0x21, 0xfe);
  out8(0x43, 0x34);  // counter 0, both bytes, rate generator
  out8(0x40, count & 0xff);
  out8(0x40, count >> 8);
  spin_25_ms();
  GUEST_CHECK(first_count == 0);  // the local APIC passes nothing on

  lapic_write(LapicRegister::local_interrupt_0, external);
  wait_until(first_count, 1);  // the one that waited
  sync(1);
  std::uint64_t wanted = first_count + mailbox().argument[0];
  wait_until(first_count, wanted);
  sync(2);

  out8(0x21, 0xff);
  std::uint64_t before = first_count;
  spin_25_ms();
  GUEST_CHECK(first_count == before);
  out8(0x21, 0xfe);
  wait_until(first_count, before + 1);
  mailbox().result[0] = first_count;
}

}  // namespace guest
