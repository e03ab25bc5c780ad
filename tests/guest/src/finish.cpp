// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "finish.hpp"

#include "acpi.hpp"
#include "cpu.hpp"
#include "serial.hpp"
#include "trivet_guest/protocol.hpp"

namespace guest {
namespace {

bool to_test_port = false;

[[noreturn]] void triple_fault() {
  struct [[gnu::packed]] {
    std::uint16_t limit = 0;
    std::uint64_t base = 0;
  } empty;
  asm volatile("lidt %0; ud2" ::"m"(empty) : "memory");
  halt_forever();
}

}  // namespace

void finish_through_test_port() {
  to_test_port = true;
}

void finish_passed() {
  if (to_test_port) out32(trivet_guest::port_result, 0);
  finish("poweroff");
}

void finish_failed(std::uint32_t line) {
  flush_console();
  if (to_test_port) {
    out32(trivet_guest::port_result, line);
    halt_forever();
  }
  print_line("guest: failed, line ", line);
  report_crash();
  finish("poweroff");
}

void report_crash() {
  flush_console();
  (void)acpi_report_crash();
}

void finish(Text how) {
  disable_interrupts();
  flush_console();
  if (how == Text{"triple"}) triple_fault();
  if (how == Text{"reset"} && !acpi_reset()) print_line("guest: no reset register; halting");
  if (how == Text{"poweroff"} && !acpi_power_off()) print_line("guest: no way to power off; halting");
  halt_forever();
}

}  // namespace guest
