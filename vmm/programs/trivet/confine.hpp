// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <span>

#include <trivet/core/result.hpp>

namespace trivet::program {

/// Leaves this process, for good, no more than serving devices takes: no capability, no new privileges, and the system
/// calls of `allowed_calls`, others fail with EPERM. Files are open before. Before other threads are started.
/// `io` where the kernel refuses (host). Source: capset(2), seccomp(2), prctl(2) PR_SET_NO_NEW_PRIVS.
Result<void> confine();

/// Numbers of system calls: reading, writing and waiting on what is open, memory that is not executable, threads.
[[nodiscard]] std::span<const unsigned> allowed_calls() noexcept;
/// mmap and mprotect, which are allowed without PROT_EXEC.
[[nodiscard]] std::span<const unsigned> mapping_calls() noexcept;
/// AUDIT_ARCH_*: what the numbers are of.
[[nodiscard]] unsigned call_architecture() noexcept;

}  // namespace trivet::program
