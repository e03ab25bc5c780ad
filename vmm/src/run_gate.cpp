// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "run_gate.hpp"

#include <utility>

namespace trivet::vmm {

void RunGate::enter(unsigned threads) {
  const std::scoped_lock lock(mutex_);
  threads_ += threads;
}

void RunGate::leave() {
  const std::scoped_lock lock(mutex_);
  --threads_;
  changed_.notify_all();
}

bool RunGate::pass() {
  std::unique_lock lock(mutex_);
  if (paused_ && !outcome_) {
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !paused_ || outcome_; });
    --waiting_;
  }
  return !outcome_;
}

void RunGate::resume() {
  const std::scoped_lock lock(mutex_);
  paused_ = false;
  changed_.notify_all();
}

void RunGate::pause() {
  {
    const std::scoped_lock lock(mutex_);
    paused_ = true;
  }
  kick_all_();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_ == threads_ || !paused_ || outcome_; });
}

void RunGate::finish(Outcome outcome) noexcept {
  {
    const std::scoped_lock lock(mutex_);
    if (outcome_) return;
    outcome_ = std::move(outcome);
    changed_.notify_all();
  }
  kick_all_();
}

Outcome RunGate::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return outcome_.has_value(); });
  return *outcome_;
}

bool RunGate::paused() const {
  const std::scoped_lock lock(mutex_);
  return paused_;
}

std::optional<Outcome> RunGate::outcome() const {
  const std::scoped_lock lock(mutex_);
  return outcome_;
}

}  // namespace trivet::vmm
