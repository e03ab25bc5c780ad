// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <utility>

#include <tl/expected.hpp>

#include <trivet/core/error.hpp>

namespace trivet {

/// A value or an Error. Ignoring one is a compile-time warning; Trivet never throws.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  // NOLINTNEXTLINE(google-explicit-constructor): an Error is returned as it stands.
  Result(const Error& error) : tl::expected<T, Error>(tl::unexpect, error) {}
  // NOLINTNEXTLINE(google-explicit-constructor): results of and_then, map, or_else fit back in.
  Result(tl::expected<T, Error>&& other) : tl::expected<T, Error>(std::move(other)) {}
};

}  // namespace trivet

#define TRIVET_CONCAT_(a, b) a##b
#define TRIVET_CONCAT(a, b) TRIVET_CONCAT_(a, b)

/// Returns the error of `expression` from this function, or goes on.
#define TRIVET_TRY(expression)                                                           \
  do {                                                                                   \
    if (auto trivet_result = (expression); !trivet_result) return trivet_result.error(); \
  } while (false)

/// Declares `target` (for example `auto x`) from the value of `expression`, or returns its error from this function.
#define TRIVET_ASSIGN(target, expression) TRIVET_ASSIGN_(TRIVET_CONCAT(trivet_result_, __COUNTER__), target, expression)
#define TRIVET_ASSIGN_(result, target, expression) \
  auto result = (expression);                      \
  if (!result) return result.error();              \
  target = std::move(*result)
