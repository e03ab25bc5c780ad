// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The host's half of the suite: one function a scenario, one line each in the table.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <trivet/core/hypervisor.hpp>

#include "machine.hpp"
#include "outcome.hpp"

namespace conformance {

struct Scenario {
  std::string_view name;
  Outcome (*run)(trivet::Hypervisor& hypervisor);
  /// Without one of these the scenario is `unsupported`, naming it; `at_creation` counts as there.
  std::vector<trivet::Cap> needs;
  /// The watchdog's time, in seconds, before `--slow` multiplies it.
  unsigned seconds = 10;
};

[[nodiscard]] std::span<const Scenario> all_scenarios();

/// Names the first missing ability; passes where there is none.
Outcome check_needs(const trivet::Hypervisor& hypervisor, std::span<const trivet::Cap> needs);

}  // namespace conformance
