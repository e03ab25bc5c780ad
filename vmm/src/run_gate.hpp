// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>

#include <trivet/vmm/outcome.hpp>

namespace trivet::vmm {

/// What the threads of a machine's runners agree on: go, wait, or end. The first outcome stays.
/// Thread rule: any thread.
class RunGate {
 public:
  /// `kick_all` makes every runner come back; called with no lock held, from any thread, until `threads` have left.
  explicit RunGate(std::function<void()> kick_all) : kick_all_(std::move(kick_all)) {}

  /// A runner's thread, around its life.
  void enter(unsigned threads);
  void leave();
  /// A runner's thread, between runs: waits while paused; false when it is over.
  bool pass();

  void resume();
  /// Returns when no runner is running: all wait in `pass` or have left.
  void pause();
  void finish(Outcome outcome) noexcept;

  /// Waits for the end.
  Outcome wait();
  [[nodiscard]] bool paused() const;
  [[nodiscard]] std::optional<Outcome> outcome() const;

 private:
  std::function<void()> kick_all_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool paused_ = true;
  unsigned threads_ = 0;
  unsigned waiting_ = 0;
  std::optional<Outcome> outcome_;
};

}  // namespace trivet::vmm
