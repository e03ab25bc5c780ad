// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "interrupts.hpp"
#include "scenarios.hpp"

namespace guest {
namespace {

volatile std::uint64_t exception_count = 0;
volatile std::uint64_t exception_vector = 0;
volatile std::uint64_t exception_error = 0;

void on_exception(InterruptFrame& frame) {
  exception_count = exception_count + 1;
  exception_vector = frame.vector;
  exception_error = frame.error;
}
// For a faulting RDMSR or WRMSR, two bytes long: go on behind it.
void on_fault_skip(InterruptFrame& frame) {
  on_exception(frame);
  frame.rip += 2;
}

}  // namespace

// The mailbox holds leaf and subleaf pairs; the answers go back in the same order.
void cpuid_as_set(const BootInfo&) {
  std::uint64_t count = mailbox().argument[0];
  for (std::uint64_t i = 0; i < count; ++i) {
    CpuidResult r = cpuid(static_cast<std::uint32_t>(mailbox().argument[1 + 2 * i]),
                          static_cast<std::uint32_t>(mailbox().argument[2 + 2 * i]));
    mailbox().result[2 * i] = r.eax | std::uint64_t{r.ebx} << 32;
    mailbox().result[2 * i + 1] = r.ecx | std::uint64_t{r.edx} << 32;
  }
}

// Index and value pairs: what the host wrote is there, and what the guest writes the host sees.
void msr_round_trip(const BootInfo&) {
  std::uint64_t count = mailbox().argument[0];
  for (std::uint64_t i = 0; i < count; ++i) {
    auto index = static_cast<std::uint32_t>(mailbox().argument[1 + 2 * i]);
    mailbox().result[i] = rdmsr(index);
    wrmsr(index, mailbox().argument[2 + 2 * i]);
  }
  sync(1);
}

void msr_exits(const BootInfo&) {
  set_handler(13, on_fault_skip);
  auto index = static_cast<std::uint32_t>(mailbox().argument[0]);
  GUEST_CHECK(rdmsr(index) == 0x1122334455667788);
  wrmsr(index, 0x99aabbccddeeff00);
  GUEST_CHECK(exception_count == 0);
  (void)rdmsr(index);  // refused by the host
  GUEST_CHECK(exception_count == 1);
  wrmsr(index, 5);  // refused too
  GUEST_CHECK(exception_count == 2);
  std::uint64_t lstar = rdmsr(0xc0000082);  // not intercepted
  wrmsr(0xc0000082, lstar + 1);
  GUEST_CHECK(rdmsr(0xc0000082) == lstar + 1);
}

void nmi(const BootInfo&) {
  set_handler(2, on_exception);
  sync(1);  // the host injects, while this runs
  while (exception_count == 0) pause();
  for (int i = 0; i < 100; ++i) pause();
  GUEST_CHECK(exception_count == 1 && exception_vector == 2);
  // No IRET ends the NMI here: the host unmasks and injects the second one.
  if (mailbox().argument[0] != 0) {
    sync(2);
    while (exception_count == 1) pause();
    GUEST_CHECK(exception_count == 2);
  }
}

void exceptions(const BootInfo&) {
  set_handler(13, on_exception);
  set_handler(6, on_exception);
  sync(1);  // #GP with an error code
  GUEST_CHECK(exception_count == 1 && exception_vector == 13 && exception_error == 0x1230);
  sync(2);  // #UD
  GUEST_CHECK(exception_count == 2 && exception_vector == 6);
}

void triple_fault(const BootInfo&) {
  sync(1);
  finish("triple");
}

void halt(const BootInfo&) {
  for (std::uint32_t i = 1; i <= 3; ++i) {
    out32(trivet_guest::port_value, i);
    asm volatile("hlt" ::: "memory");
  }
}

void clock(const BootInfo&) {
  sync(1);
}

// The vCPU is running while the host tries what needs it stopped.
void wrong_state(const BootInfo&) {
  mailbox().count = 1;
  while (mailbox().go == 0) pause();
}

}  // namespace guest
