// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <time.h>
#include <vector>

#include "commands.hpp"

namespace trivet::program {
namespace {

std::uint64_t first_instruction_ns = 0;

/// Before main and before any other constructor: the dynamic loader's work is in front of it, main's behind.
[[gnu::constructor(101)]] void note_start() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  first_instruction_ns =
      static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

constexpr std::string_view usage =
    "usage: trivet run [options]        boot a guest; without --kernel the built-in one\n"
    "       trivet dm --domid N ...     serve virtio devices to a guest that Xen's toolstack made\n"
    "       trivet backends [--json]    what each hypervisor can do here, or why it cannot\n"
    "       trivet --version\n"
    "       trivet --help\n";

int dispatch(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    std::fwrite(usage.data(), 1, usage.size(), stderr);
    return exit_usage;
  }
  const auto rest = std::span(arguments).subspan(1);
  const auto& command = arguments.front();
  if (command == "run") return run_command(rest);
  if (command == "dm") return dm_command(rest);
  if (command == "backends") return backends_command(rest);
  if ((command == "--version" || command == "-V") && rest.empty()) {
    std::puts("trivet " TRIVET_VERSION);
    return 0;
  }
  if ((command == "--help" || command == "-h" || command == "help") && rest.empty()) {
    const auto text = std::string(usage) + "\n" + run_help() + "\n" + dm_help();
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  const bool has_rest =
      command == "--version" || command == "-V" || command == "--help" || command == "-h" || command == "help";
  complain(has_rest ? fmt::format("{} takes nothing after it", command)
                    : fmt::format("unknown command '{}'; known: run, dm, backends, --version, --help", command));
  return exit_usage;
}

}  // namespace

std::uint64_t start_ns() noexcept {
  if (const char* given = std::getenv("TRIVET_START_NS")) {
    const std::string_view text = given;
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && value <= first_instruction_ns) return value;
  }
  return first_instruction_ns;
}

void complain(std::string_view text) {
  auto line = fmt::format("trivet: {}", text);
  std::replace(line.begin(), line.end(), '\n', ' ');
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void complain(const Error& error) {
  complain(to_string(error));
}

}  // namespace trivet::program

int main(int count, char** values) {
  // A reader of our output that goes away is an error of a write, not the end of the guest.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return trivet::program::dispatch({values + (count > 0 ? 1 : 0), values + count});
  } catch (const std::exception& failure) {  // out of memory: nothing else in Trivet throws
    trivet::program::complain(failure.what());
    return 1;
  }
}
