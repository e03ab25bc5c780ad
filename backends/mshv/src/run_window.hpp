// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/mshv/system.hpp>

namespace trivet::mshv {

/// Looks at `stop` and makes the ioctl RUN_VP, as one step for a signal handler that calls `leave_run`: what the
/// kernel gives, or -EINTR. The driver has no way to ask for an immediate exit, and a signal that came between the look
/// and the call would be lost: so its handler moves the thread back to the look. (As musl does for cancellation.)
int run_window(int vp_fd, void* message, const StopFlag& stop) noexcept;

/// For the kick signal's hook, with `kick_signal::interrupted()`: leaves anything but the window alone.
/// Async-signal-safe.
void leave_run(void* interrupted) noexcept;

}  // namespace trivet::mshv
