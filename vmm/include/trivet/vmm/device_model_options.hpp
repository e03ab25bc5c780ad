// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <span>
#include <string>

#include <trivet/core/result.hpp>
#include <trivet/vmm/device_model.hpp>

namespace trivet::vmm {

/// What `trivet dm` was asked for.
struct DeviceModelOptions {
  DeviceModelConfig config;
  bool help = false;
};

/// The command line of `trivet dm`: `--domid N`, then the devices as `trivet run` takes them. Errors name the option
/// (caller). Any thread.
Result<DeviceModelOptions> parse_device_model_options(std::span<const std::string> arguments);

/// One line an option, with its keys.
[[nodiscard]] std::string device_model_options_help();

}  // namespace trivet::vmm
