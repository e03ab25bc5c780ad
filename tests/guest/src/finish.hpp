// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Ways to end.
#pragma once

#include <cstdint>

#include "text.hpp"

namespace guest {

/// From now on a result goes to the conformance host.
void finish_through_test_port();
/// Ends well.
[[noreturn]] void finish_passed();
/// Ends badly: to the conformance host with `line`, else by a message and a reported crash, or power off.
[[noreturn]] void finish_failed(std::uint32_t line);

/// Reports a crash, by which the program that runs this fails too; returns where nobody takes the report.
void report_crash();

/// Ends as the command line says (`end=poweroff|reset|halt|triple`); power off is the default.
[[noreturn]] void finish(Text how);

}  // namespace guest

/// Ends the guest with this line's number unless `condition` holds.
#define GUEST_CHECK(condition)                          \
  do {                                                  \
    if (!(condition)) ::guest::finish_failed(__LINE__); \
  } while (false)
