// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What became of a scenario.
#pragma once

#include <fmt/format.h>
#include <string>
#include <utility>

#include <trivet/core/error.hpp>

namespace conformance {

enum class Verdict : unsigned char { pass, fail, unsupported };

struct [[nodiscard]] Outcome {
  Verdict verdict = Verdict::pass;
  std::string reason;
};

inline Outcome passed(std::string note = {}) {
  return {Verdict::pass, std::move(note)};
}
inline Outcome failed(std::string reason) {
  return {Verdict::fail, std::move(reason)};
}
/// Only with the name of the capability, limit or state element that says so.
inline Outcome unsupported(std::string reason) {
  return {Verdict::unsupported, std::move(reason)};
}

inline bool failed(const Outcome& outcome) {
  return outcome.verdict != Verdict::pass;
}

}  // namespace conformance

/// Ends the scenario as failed unless `condition` holds; the rest is a format and its arguments.
#define CONFORM(condition, ...)                                                                                  \
  do {                                                                                                           \
    if (!(condition)) return ::conformance::failed(fmt::format("{}: {}", #condition, fmt::format(__VA_ARGS__))); \
  } while (false)

/// Ends the scenario as failed when a Result is an error.
#define CONFORM_OK(expression)                                                                                     \
  do {                                                                                                             \
    if (auto conform_result = (expression); !conform_result)                                                       \
      return ::conformance::failed(fmt::format("{}: {}", #expression, trivet::to_string(conform_result.error()))); \
  } while (false)

/// Declares `target` from a Result's value, or ends the scenario as failed.
#define CONFORM_ASSIGN(target, expression) \
  CONFORM_ASSIGN_(TRIVET_CONCAT(conform_result_, __COUNTER__), target, expression)
#define CONFORM_ASSIGN_(result, target, expression)                                                                 \
  auto result = (expression);                                                                                       \
  if (!result) return ::conformance::failed(fmt::format("{}: {}", #expression, trivet::to_string(result.error()))); \
  target = std::move(*result)

/// Ends the scenario as failed unless the Result is an error of this code.
#define CONFORM_ERROR(expression, wanted)                                                                             \
  do {                                                                                                                \
    auto conform_result = (expression);                                                                               \
    if (conform_result) return ::conformance::failed(#expression " succeeded, wanted " #wanted);                      \
    if (conform_result.error().code() != (wanted))                                                                    \
      return ::conformance::failed(                                                                                   \
          fmt::format("{} gave \"{}\", wanted {}", #expression, trivet::to_string(conform_result.error()), #wanted)); \
  } while (false)

/// Ends the scenario with what a step gave, unless that passed.
#define CONFORM_STEP(step)                                                              \
  do {                                                                                  \
    if (auto conform_outcome = (step); failed(conform_outcome)) return conform_outcome; \
  } while (false)
