// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/result.hpp>

namespace trivet::vmm {

/// The machine's I/O thread: a Boost.Asio context that one thread runs. Everything of a device but its registers
/// happens on it. Thread rule: `start` and `stop` from one thread, not the loop's own; `executor` and `post` from any.
class EventLoop {
 public:
  /// `limit` or `no_memory` when the host gives no epoll descriptor (host).
  static Result<std::unique_ptr<EventLoop>> create();
  /// Stops.
  ~EventLoop();

  [[nodiscard]] boost::asio::any_io_executor executor() const noexcept;

  /// Runs `work` on the loop. Before `start` it waits for it; after `stop` it is dropped.
  void post(std::function<void()> work);
  /// The same, and waits for it to be done. On the loop's own thread, or when the loop is not running, runs it here.
  void run_and_wait(const std::function<void()>& work);

  /// `bad_state` when it was started before (caller); `limit` when there is no thread (host).
  Result<void> start();
  /// Ends the thread after the work in hand. For good.
  void stop() noexcept;

 private:
  struct Impl;
  friend class ReadyWatch;
  explicit EventLoop(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Calls back on the loop's thread each time a descriptor turns readable or writable, until it is disarmed.
///
/// A descriptor that is always ready (a regular file) calls back again and again while it is armed. Thread rule: made
/// before the loop starts or on its thread; `arm` and `disarm` on its thread or before it starts; destroyed on its
/// thread or after it stopped.
class ReadyWatch {
 public:
  enum class Direction : std::uint8_t { read, write };
  /// Whose descriptor: Asio makes what it waits on non-blocking. For a `shared` one (standard input: the shell has it
  /// too) it waits on an epoll descriptor of its own instead.
  enum class Ownership : std::uint8_t { ours, shared };

  /// `fd` stays the caller's and stays open as long as this. Starts disarmed. Errors are the host's.
  static Result<std::unique_ptr<ReadyWatch>> create(EventLoop& loop, int fd, Direction direction, Ownership ownership,
                                                    std::function<void()> ready);
  ~ReadyWatch();

  void arm();
  void disarm();

 private:
  struct Impl;
  explicit ReadyWatch(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace trivet::vmm
