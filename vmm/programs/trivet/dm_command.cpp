// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdio>

#include <trivet/vmm/device_model_options.hpp>

#include "commands.hpp"
#include "dm.hpp"

namespace trivet::program {

void say(std::string_view line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
}

std::string dm_help() {
  return "options of dm (a device model in Xen's dom0, for a guest made paused: xl create -p):\n" +
         vmm::device_model_options_help();
}

int dm_command(std::span<const std::string> arguments) {
  auto options = vmm::parse_device_model_options(arguments);
  if (!options) {
    complain(options.error());
    return exit_usage;
  }
  if (options->help) {
    say(dm_help());
    return 0;
  }
  return supervise(std::move(options->config));
}

}  // namespace trivet::program
