// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Where the hypervisor is the one that differs from the processor. Each rule is as narrow as can be, says why, and is
// counted; what it does not cover must still agree.
#pragma once

#include <optional>
#include <string_view>

#include "case.hpp"

namespace diff {

struct Settled {
  std::string_view reason;
  Result theirs;            ///< as it would be without that
  bool whole_case = false;  ///< nothing is left to compare
};

/// Nothing where no rule fits. A rule may change `their_memory`, too.
[[nodiscard]] std::optional<Settled> settle(const Case& test, const Result& theirs, Memory their_memory,
                                            const Result& ours, Memory our_memory);

}  // namespace diff
