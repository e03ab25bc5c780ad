// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <span>
#include <string>

#include <trivet/core/result.hpp>
#include <trivet/vmm/config.hpp>

namespace trivet::vmm {

/// What `trivet run` was asked for.
struct RunOptions {
  Config config;
  bool stats = false;
  bool help = false;
};

/// The command line of `trivet run`: first --config's file, then the options on top of it, then `validate`.
/// A key that is given here wins over the file's; a repeatable option adds to the file's list. Errors name the option
/// (caller). Any thread.
Result<RunOptions> parse_run_options(std::span<const std::string> arguments);

/// One line an option, with its keys.
[[nodiscard]] std::string run_options_help();

}  // namespace trivet::vmm
