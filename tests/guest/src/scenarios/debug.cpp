// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "interrupts.hpp"
#include "scenarios.hpp"

extern "C" void debug_straight();
extern "C" void debug_straight_end();

asm(R"(
  .pushsection .text
  .globl debug_straight, debug_straight_end
debug_straight:
  nop
  incq %rax
  incq %rax
  xchgq %rax, %rcx
  xchgq %rcx, %rax
  nop
  nop
debug_straight_end:
  ret
  .popsection
)");

namespace guest {
namespace {

volatile std::uint64_t breakpoints = 0;
void on_breakpoint(InterruptFrame&) {
  breakpoints = breakpoints + 1;
}

}  // namespace

void single_step(const BootInfo&) {
  mailbox().result[0] = reinterpret_cast<std::uint64_t>(debug_straight);
  mailbox().result[1] = reinterpret_cast<std::uint64_t>(debug_straight_end);
  std::uint64_t rax = 40;
  sync(1);
  asm volatile("call debug_straight" : "+a"(rax)::"rcx", "memory", "cc");
  GUEST_CHECK(rax == 42);
  sync(2);
}

void breakpoints_hardware(const BootInfo&) {
  constexpr std::uint64_t watched = trivet_guest::scratch + 0x100;
  mailbox().result[0] = reinterpret_cast<std::uint64_t>(debug_straight_end);
  mailbox().result[1] = watched;
  sync(1);  // the host sets a breakpoint and a watchpoint for writes
  asm volatile("call debug_straight" ::: "rax", "rcx", "memory", "cc");
  (void)read64(watched);
  write64(watched, 5);
  write64(watched + 8, 5);
  sync(2);  // and takes both away
  asm volatile("call debug_straight" ::: "rax", "rcx", "memory", "cc");
  write64(watched, 6);
}

void breakpoints_software(const BootInfo&) {
  set_handler(3, on_breakpoint);
  asm volatile("int3" ::: "memory");
  GUEST_CHECK(breakpoints == 1);  // the guest's own, before the host asks for them
  sync(1);
  asm volatile("int3" ::: "memory");
  GUEST_CHECK(breakpoints == 1);
  sync(2);
  asm volatile("int3" ::: "memory");
  GUEST_CHECK(breakpoints == 2);
}

}  // namespace guest
