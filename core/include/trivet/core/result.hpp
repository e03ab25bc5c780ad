// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <type_traits>
#include <utility>

#include <tl/expected.hpp>

#include <trivet/core/error.hpp>

namespace trivet {

/// A value or an Error. Ignoring one is a compile-time warning; Trivet never throws.
///
/// An Error is large: made, copied and moved is only what is there.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
  using Base = tl::expected<T, Error>;
  template <template <class> class Trait>
  static constexpr bool holds = std::disjunction_v<std::is_void<T>, Trait<T>>;

 public:
  using Base::Base;
  // Not defaulted: `return {}` would fill the Error's room with zeros first.
  Result() noexcept  // NOLINT(modernize-use-equals-default)
      requires(holds<std::is_default_constructible>) {}
  Result(const Result& other) requires(holds<std::is_copy_constructible>)
      : Base(other.has_value() ? value_of(other) : failure(other.error())) {}
  Result(Result&& other) noexcept : Base(other.has_value() ? value_of(std::move(other)) : failure(other.error())) {}
  Result& operator=(const Result& other) = default;
  Result& operator=(Result&& other) noexcept = default;
  ~Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): an Error is returned as it stands.
  Result(const Error& error) : Base(failure(error)) {}
  // NOLINTNEXTLINE(google-explicit-constructor): results of and_then, map, or_else fit back in.
  Result(Base&& other) : Base(std::move(other)) {}

 private:
  /// Apart, so that the way of a value is short and the pages that it is on are few.
  [[gnu::cold, gnu::noinline]] static Base failure(const Error& error) { return Base(tl::unexpect, error); }
  template <class Other>
  [[gnu::always_inline]] static Base value_of(Other&& other) {
    if constexpr (std::is_void_v<T>) {
      Base success;  // not Base(): see above
      return success;
    } else {
      return Base(tl::in_place, *std::forward<Other>(other));
    }
  }
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
