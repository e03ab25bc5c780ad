// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdio>
#include <fmt/format.h>

#include <trivet/vmm/backends.hpp>
#include <trivet/vmm/device_model.hpp>
#include <trivet/vmm/device_model_options.hpp>

#include "commands.hpp"
#include "stop_signals.hpp"

namespace trivet::program {
namespace {

void say(std::string_view line) {
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);  // who started us waits for "ready"
}

int fail(const Error& error) {
  complain(error);
  return 1;
}

int serve(const vmm::DeviceModelConfig& config) {
  const auto registry = vmm::find_backends();
  auto created = vmm::DeviceModel::create(config, registry);
  if (!created) return fail(created.error());
  auto& model = **created;
  auto signals = StopSignals::create(model.executor(), [&model] { model.stop(); });
  if (!signals) return fail(signals.error());
  if (const auto started = model.start(); !started) return fail(started.error());
  for (const auto& device : model.devices()) say(device + "\n");
  say(fmt::format("ready: serving domain {} with {} MiB; it may run now (xl unpause {})\n", config.id,
                  model.memory_mib(), config.id));
  const auto outcome = model.wait();
  if (outcome.error) return fail(*outcome.error);
  say(fmt::format("domain {} ended: {}\n", config.id, to_string(outcome.end)));
  const auto code = vmm::exit_code(outcome.end);
  return outcome.end == vmm::End::stopped && StopSignals::caught() != 0 ? 128 + StopSignals::caught() : code;
}

}  // namespace

std::string dm_help() {
  return "options of dm (a device model in Xen's dom0, for a PVH guest made paused: xl create -p):\n" +
         vmm::device_model_options_help();
}

int dm_command(std::span<const std::string> arguments) {
  const auto options = vmm::parse_device_model_options(arguments);
  if (!options) {
    complain(options.error());
    return exit_usage;
  }
  if (options->help) {
    const auto text = dm_help();
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  return serve(options->config);
}

}  // namespace trivet::program
