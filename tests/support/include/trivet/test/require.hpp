// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdlib>

#include <trivet/core/error.hpp>

namespace trivet::test {

/// What a fuzzer or a benchmark holds to be true, in every build.
inline void require(bool holds) {
  if (!holds) std::abort();
}

/// A guest's fault, and no other's; and it says something.
inline void require_guest(const Error& error) {
  require(error.blame() == Blame::guest && !error.detail().empty());
}

}  // namespace trivet::test
