// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdio>
#include <fmt/format.h>
#include <optional>
#include <unistd.h>

#include <guest_image.hpp>

#include <trivet/vmm/backends.hpp>
#include <trivet/vmm/machine.hpp>
#include <trivet/vmm/run_options.hpp>
#include <trivet/vmm/terminal.hpp>

#include "commands.hpp"
#include "stop_signals.hpp"
#include "window_signal.hpp"

namespace trivet::program {
namespace {

void print_stats(const vmm::MachineStats& stats) {
  const auto until_run = stats.first_run_ns > start_ns() ? (stats.first_run_ns - start_ns()) / 1000 : 0;
  const auto line = fmt::format("stats: first_run_us={} runs={} exits={} unclaimed={} rss_kib={}\n", until_run,
                                stats.runs, stats.exits, stats.unclaimed, stats.resident_kib);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

int report(const vmm::Outcome& outcome) {
  const auto code = vmm::exit_code(outcome.end);
  if (outcome.error) {
    complain(*outcome.error);
  } else if (code != 0) {
    complain(fmt::format("the guest ended: {}{}{}", to_string(outcome.end), outcome.detail.empty() ? "" : ": ",
                         outcome.detail));
  }
  return outcome.end == vmm::End::stopped && StopSignals::caught() != 0 ? 128 + StopSignals::caught() : code;
}

int fail(const Error& error) {
  complain(error);
  return 1;
}

int run(const vmm::RunOptions& options) {
  const auto registry = vmm::find_backends();
  if (options.config.hypervisor != "auto" && registry.find(options.config.hypervisor) == nullptr) {
    complain(registry.select(options.config.hypervisor).error());
    return exit_usage;
  }
  const bool terminal = options.config.serial.input == "-" && vmm::Terminal::usable(STDIN_FILENO);
  auto machine = vmm::Machine::create(options.config, registry, {builtin_guest_image(), terminal});
  if (!machine) return fail(machine.error());
  auto& guest = **machine;
  auto signals = StopSignals::create(guest.executor(), [&guest] { guest.stop(); });
  if (!signals) return fail(signals.error());
  const auto window = WindowSignal::create(guest.executor(), [&guest] { guest.follow_terminals(); });
  if (!window) return fail(window.error());

  std::optional<vmm::Terminal> raw;
  if (terminal) {
    auto mode = vmm::Terminal::raw(STDIN_FILENO);
    if (!mode) return fail(mode.error());
    raw.emplace(std::move(*mode));
  }
  if (const auto started = guest.start(); !started) return fail(started.error());
  const auto outcome = guest.wait();
  raw.reset();
  if (options.stats) print_stats(guest.stats());
  return report(outcome);
}

}  // namespace

std::string run_help() {
  return "options of run (KEY=VALUE groups separated by commas; double quotes keep commas in a value):\n" +
         vmm::run_options_help() +
         "  --config FILE    the same as JSON; options given here go on top\n"
         "  --stats          one line on standard error at the end\n"
         "On a terminal Ctrl-A x stops the guest and Ctrl-A Ctrl-A sends one Ctrl-A.\n"
         "Exit codes: 0 power off, reset or stopped; 1 failure; 2 wrong options; 3 triple fault; 4 crash; 128+N signal "
         "N.\n";
}

int run_command(std::span<const std::string> arguments) {
  const auto options = vmm::parse_run_options(arguments);
  if (!options) {
    complain(options.error());
    return exit_usage;
  }
  if (options->help) {
    const auto text = run_help();
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  return run(*options);
}

}  // namespace trivet::program
