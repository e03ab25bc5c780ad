// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <string>

#include "case.hpp"

namespace diff {

struct Verdict {
  std::string difference{};      ///< empty: they agree
  std::string_view exemption{};  ///< why they may differ: the hypervisor's own limit, never ours
};

/// Compares all that the architecture defines.
[[nodiscard]] Verdict compare(const Case& test, const Result& theirs, Memory their_memory, const Result& ours,
                              Memory our_memory);

}  // namespace diff
