// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/result.hpp>

namespace trivet::program {

/// Leaves this process, for good, no more than serving devices takes: no capability, no new privileges, and the system
/// calls for reading, writing and waiting on what is open, memory that is not executable, and threads; others fail with
/// EPERM. Files are open before. `io` where the kernel refuses (host). Source: capset(2), seccomp(2).
Result<void> confine();

}  // namespace trivet::program
