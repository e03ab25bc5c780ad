// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdio>
#include <cstdlib>
#include <utility>

#include <trivet/core/result.hpp>

namespace trivet::test {

/// What cannot fail in a test's own set-up; else it ends the program.
inline void must(const Result<void>& result) {
  if (!result) {
    std::fprintf(stderr, "test support: %s\n", to_string(result.error()).c_str());
    std::abort();
  }
}
template <class T>
T must(Result<T> result) {
  if (!result) must(Result<void>(result.error()));
  return std::move(*result);
}

}  // namespace trivet::test
