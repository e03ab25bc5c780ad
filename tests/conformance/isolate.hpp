// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// One process for each scenario: a crash or a hang in one is a failure of that one only.
#pragma once

#include <functional>

#include "outcome.hpp"

namespace conformance {

/// Runs `work` in a child process and kills it after `seconds`. Thread rule: while this process has one thread.
Outcome isolate(unsigned seconds, const std::function<Outcome()>& work);

}  // namespace conformance
