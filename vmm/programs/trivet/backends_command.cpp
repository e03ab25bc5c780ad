// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdio>
#include <fmt/format.h>

#include <trivet/vmm/backends.hpp>

#include "commands.hpp"

namespace trivet::program {

int backends_command(std::span<const std::string> arguments) {
  bool json = false;
  for (const auto& argument : arguments) {
    if (argument != "--json" || json) {
      complain(fmt::format("backends: {} '{}'; known: --json",
                           json && argument == "--json" ? "repeated" : "unknown option", argument));
      return exit_usage;
    }
    json = true;
  }
  const auto registry = vmm::find_backends();
  const auto text = json ? vmm::backends_json(registry) : vmm::backends_table(registry);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

}  // namespace trivet::program
