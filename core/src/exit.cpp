// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>

#include <trivet/core/exit.hpp>

namespace trivet {

std::string_view name(const Exit& exit) {
  static constexpr std::array<std::string_view, std::variant_size_v<Exit>> names{
      "kicked", "halted",    "reset", "power off",    "triple fault",  "crash",
      "debug",  "hypercall", "msr",   "memory fault", "entry failure", "emulation failure"};
  return names[exit.index()];
}

}  // namespace trivet
