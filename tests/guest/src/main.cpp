// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "acpi.hpp"
#include "boot_info.hpp"
#include "finish.hpp"
#include "interrupts.hpp"
#include "lapic.hpp"
#include "scenario.hpp"
#include "serial.hpp"
#include "tour.hpp"

namespace guest {
namespace {

BootInfo info;

[[noreturn]] void run_scenario(Text name) {
  serial_redirect_to_test_port();
  finish_through_test_port();
  const Scenario* scenario = find_scenario(name);
  if (scenario == nullptr) {
    print_line("guest: no scenario ", name);
    finish_failed(1);
  }
  scenario->run(info);
  finish_passed();
}

[[noreturn]] void run_tour() {
  Text value;
  serial_start();
  print_line("trivet built-in guest");
  print_line("command line: \"", info.command_line, "\"");
  acpi_start(info);
  lapic_start(info.option("x2apic", value));
  tour_machine(info);
  bool good = tour_devices();
  tour_exits();
  if (info.option("echo", value)) echo_console();
  Text end = "poweroff";
  info.option("end", end);
  print_line(good ? "guest: done, " : "guest: FAILED, ", end);
  if (!good) report_crash();
  finish(end);
}

}  // namespace

extern "C" [[noreturn]] void guest_main(std::uint32_t start_info) {
  interrupts_start();
  bool told = read_boot_info(start_info, info);
  Text name;
  if (told && info.option("scenario", name)) run_scenario(name);
  run_tour();
}

}  // namespace guest
