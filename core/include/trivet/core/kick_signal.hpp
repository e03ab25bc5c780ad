// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <sys/types.h>

#include <trivet/core/result.hpp>

namespace trivet {

/// The signal that pulls a thread out of a hypervisor's run call: SIGRTMIN + 5, with a handler that only calls the
/// function registered by the thread it lands on. Shared by every backend whose run is a system call.
/// Source: signal(7); BACKENDS "Kick".
namespace kick_signal {

/// Installs the handler, once for the process. `bad_state` when somebody else handles the signal already (caller).
Result<void> install();

/// The calling thread's hook, run inside the signal handler: must be async-signal-safe. Null to take it away.
using Hook = void (*)(void* context) noexcept;
void set_thread_hook(Hook hook, void* context) noexcept;

/// Inside a hook: the interrupted thread's registers, a `ucontext_t` that the hook may change; else null. For a backend
/// whose run call must not begin any more: it moves the thread out of the way of it.
[[nodiscard]] void* interrupted() noexcept;

/// Sends it to a thread of this process. Async-signal-safe. A thread that is gone is no error.
void send(pid_t thread) noexcept;

/// The four above as a table: a signal has one handler in a process, but a backend loaded at run time brings a copy of
/// this file.
struct Service {
  Result<void> (*install)() = nullptr;
  void (*set_thread_hook)(Hook hook, void* context) noexcept = nullptr;
  void (*send)(pid_t thread) noexcept = nullptr;
  void* (*interrupted)() noexcept = nullptr;
};

/// The one that this copy uses: its own, until `adopt`.
[[nodiscard]] const Service& service() noexcept;

/// From now on this copy passes every call on to `service`, whose owner outlives it. Before the first `install`.
void adopt(const Service& service) noexcept;

}  // namespace kick_signal

}  // namespace trivet
