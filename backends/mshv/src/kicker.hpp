// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <sys/types.h>

#include <trivet/core/kicker.hpp>
#include <trivet/mshv/system.hpp>

namespace trivet::mshv {

/// The race-free kick (P4).
///
/// A kick: the sticky flag, then the stop flag, then the signal to the thread that runs, if there is one. The runner:
/// clears the stop flag, then takes the sticky one, then `System::run`, which does not enter the guest once the stop
/// flag is set. Either the runner sees the sticky flag, or the kick came after the clearing: then the stop flag stays
/// set, and the signal finds the thread before its look at it, in the guest, or already out.
class RunKicker final : public Kicker {
 public:
  void kick() noexcept override {
    kicked_.store(true, std::memory_order_seq_cst);
    nudge();
  }

  /// Pulls the runner out of the guest for something other than a kick: it looks for work and goes on.
  void nudge() noexcept;

  // For the runner's thread.
  void begin(pid_t thread) noexcept { thread_.store(thread, std::memory_order_seq_cst); }
  void end() noexcept { thread_.store(0, std::memory_order_seq_cst); }
  void set_stop(bool on) noexcept { stop_.store(on ? 1 : 0, std::memory_order_seq_cst); }
  [[nodiscard]] const StopFlag& stop() const noexcept { return stop_; }
  /// True once for the kicks so far.
  [[nodiscard]] bool take() noexcept { return kicked_.exchange(false, std::memory_order_seq_cst); }

 private:
  StopFlag stop_{0};
  std::atomic<bool> kicked_{false};
  std::atomic<pid_t> thread_{0};
};

}  // namespace trivet::mshv
