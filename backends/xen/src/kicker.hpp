// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>

#include <trivet/core/event.hpp>
#include <trivet/core/kicker.hpp>

namespace trivet::xen {

/// The kick (P4) of a runner that waits for events: a sticky flag, then an event among those it waits for.
///
/// A kick sets the flag, then signals. The runner looks at the flag, then waits: either it sees the flag, or the event
/// ends the wait and it looks again. The event is emptied only by the runner and only before the flag is taken, so that
/// a set flag that was not taken leaves the event readable.
class RunKicker final : public Kicker {
 public:
  explicit RunKicker(Event event) noexcept : event_(std::move(event)) {}

  void kick() noexcept override {
    kicked_.store(true, std::memory_order_release);
    event_.signal();
  }

  // For the runner's thread.
  [[nodiscard]] int fd() const noexcept { return event_.fd(); }
  [[nodiscard]] bool pending() const noexcept { return kicked_.load(std::memory_order_acquire); }
  /// True once for the kicks so far.
  [[nodiscard]] bool take() noexcept {
    if (!kicked_.load(std::memory_order_acquire)) return false;
    (void)event_.take();
    kicked_.store(false, std::memory_order_release);
    return true;
  }
  /// Empties an event whose kick was taken with an earlier one; nothing where a kick waits.
  void settle() noexcept {
    if (kicked_.load(std::memory_order_acquire)) return;
    (void)event_.take();
    if (kicked_.load(std::memory_order_acquire)) event_.signal();
  }

 private:
  Event event_;
  std::atomic<bool> kicked_{false};
};

}  // namespace trivet::xen
