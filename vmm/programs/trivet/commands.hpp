// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <trivet/core/error.hpp>

// The commands of `trivet`. Each takes what stands after its name and gives the exit code.
namespace trivet::program {

/// An option that is unknown, malformed or contradicts another.
inline constexpr int exit_usage = 2;

/// CLOCK_MONOTONIC at the start of the process, in ns: from TRIVET_START_NS where a benchmark put it before exec, else
/// when the program's first own instruction ran.
[[nodiscard]] std::uint64_t start_ns() noexcept;

/// "trivet: <text>" on standard error, as one line.
void complain(std::string_view text);
void complain(const Error& error);

int run_command(std::span<const std::string> arguments);
int dm_command(std::span<const std::string> arguments);
int backends_command(std::span<const std::string> arguments);

[[nodiscard]] std::string run_help();
[[nodiscard]] std::string dm_help();

}  // namespace trivet::program
