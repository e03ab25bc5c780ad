// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>

#include <trivet/core/kicker.hpp>

#include "events.hpp"

namespace trivet::xen {

/// The kick (P4) of a runner that waits for events: a sticky flag, then an event among those it waits for.
///
/// The first kick sets the flag, then raises the event; those after it, until the flag is taken, find it set. The
/// runner looks at the flag, then waits: either it sees the flag, or the event ends the wait and it looks again. An
/// event whose flag was taken already ends a wait for nothing.
class RunKicker final : public Kicker {
 public:
  /// To notify `channel` through `events_fd` raises the event.
  RunKicker(int events_fd, evtchn_port_t channel) noexcept : events_fd_(events_fd), channel_(channel) {}

  void kick() noexcept override {
    if (!kicked_.exchange(true)) (void)events::notify(events_fd_, channel_);
  }

  // For the runner's thread.
  [[nodiscard]] bool pending() const noexcept { return kicked_.load(std::memory_order_acquire); }
  /// True once for the kicks so far.
  [[nodiscard]] bool take() noexcept { return pending() && kicked_.exchange(false); }

 private:
  const int events_fd_;
  const evtchn_port_t channel_;
  std::atomic<bool> kicked_{false};
};

}  // namespace trivet::xen
