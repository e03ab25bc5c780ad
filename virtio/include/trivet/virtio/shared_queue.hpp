// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <mutex>
#include <utility>

#include <trivet/core/result.hpp>
#include <trivet/virtio/chain.hpp>
#include <trivet/virtio/fault.hpp>
#include <trivet/virtio/queue.hpp>

namespace trivet::virtio {

/// A Queue that several threads serve: each call is a Queue's under one lock, and chains are walked, read and written
/// outside it.
///
/// For a device whose requests take long enough that a lock (some 20 ns) does not matter; one thread does better with a
/// Queue. Errors are those of Queue. Thread rule: any thread. A chain belongs to the thread that popped it.
class SharedQueue {
 public:
  explicit SharedQueue(Queue queue) noexcept : queue_(std::move(queue)) {}

  [[nodiscard]] Next<Chain> pop() {
    const std::lock_guard lock(mutex_);
    return queue_.pop();
  }

  /// Whether the driver wants a notification for it: a push and its `Queue::should_notify` are one step here, so that
  /// no thread takes another's notification for its own.
  Result<bool> push_used(std::uint16_t id, std::uint32_t written) {
    const std::lock_guard lock(mutex_);
    TRIVET_TRY(queue_.push_used(id, written));
    return queue_.should_notify();
  }

  void disable_kicks() noexcept {
    const std::lock_guard lock(mutex_);
    queue_.disable_kicks();
  }
  [[nodiscard]] bool enable_kicks() noexcept {
    const std::lock_guard lock(mutex_);
    return queue_.enable_kicks();
  }
  [[nodiscard]] std::uint16_t in_flight() const noexcept {
    const std::lock_guard lock(mutex_);
    return queue_.in_flight();
  }

  /// Several steps as one, for batches: `work(Queue&)`, which keeps no reference to the Queue. What it returns.
  template <class Work>
  decltype(auto) locked(Work&& work) {
    const std::lock_guard lock(mutex_);
    return std::forward<Work>(work)(queue_);
  }

  /// The Queue again. No thread may call in here any more, and none holds a chain.
  [[nodiscard]] Queue take() && noexcept { return std::move(queue_); }

 private:
  mutable std::mutex mutex_;
  Queue queue_;
};

}  // namespace trivet::virtio
