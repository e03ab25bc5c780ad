// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>

namespace trivet::mshv {

/// Who has a vCPU: nobody, one runner, or some readers and writers of its state (P11). Thread rule: any thread.
class Occupancy {
 public:
  /// For a runner. False when another runs; waits for state calls, which are short.
  [[nodiscard]] bool enter_run() noexcept {
    int seen = 0;
    while (!users_.compare_exchange_strong(seen, running, std::memory_order_acquire)) {
      if (seen == running) return false;
      users_.wait(seen, std::memory_order_relaxed);
      seen = 0;
    }
    return true;
  }
  void leave_run() noexcept { users_.store(0, std::memory_order_release); }

  /// For a state call. False while a runner runs.
  [[nodiscard]] bool enter_state() noexcept {
    int seen = users_.load(std::memory_order_relaxed);
    do {
      if (seen == running) return false;
    } while (!users_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire));
    return true;
  }
  void leave_state() noexcept {
    if (users_.fetch_sub(1, std::memory_order_release) == 1) users_.notify_all();
  }

 private:
  static constexpr int running = -1;
  std::atomic<int> users_{0};
};

}  // namespace trivet::mshv
