// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

struct xentoollog_logger;

namespace trivet::xen {

/// A logger for Xen's libraries that says nothing: a failure comes as a Result, not as a line on somebody's standard
/// error. Lives as long as the process. Thread rule: any thread.
[[nodiscard]] xentoollog_logger* quiet_log() noexcept;

}  // namespace trivet::xen
