// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>

#include <trivet/core/bytes.hpp>
#include <trivet/core/event.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/vmm/event_loop.hpp>

namespace trivet::vmm {

/// Bytes on their way out of the machine: a bounded buffer that the loop empties into a descriptor. A reader that does
/// not read stops nobody: the buffer fills, and `write` takes less. A reader that went away is told once; from then on
/// everything is taken and dropped.
class OutputStream {
 public:
  static constexpr std::size_t capacity = 65536;

  /// `fd` is the stream's own (a duplicate). `has_room` comes on the loop when a full buffer is half empty again.
  static Result<std::unique_ptr<OutputStream>> create(EventLoop& loop, UniqueFd fd, std::function<void()> has_room);

  /// How many bytes found room. Any thread; a short lock, never waits for the reader.
  std::size_t write(ConstBytes bytes) noexcept;

  /// Whether `bytes` have room. Once it said no, `has_room` comes. Any thread.
  [[nodiscard]] bool room_for(std::size_t bytes) noexcept;

  /// Writes what is left, waiting for the reader at most this long. After the loop stopped.
  void flush(std::chrono::milliseconds limit) noexcept;

 private:
  explicit OutputStream(UniqueFd fd, Event wake, std::function<void()> has_room) noexcept
      : fd_(std::move(fd)), wake_(std::move(wake)), has_room_(std::move(has_room)), ring_(new std::byte[capacity]) {}
  /// One bounded write; false when nothing is left to write.
  bool write_some() noexcept;
  void on_writable();

  UniqueFd fd_;
  Event wake_;
  std::function<void()> has_room_;
  std::size_t most_at_once_ = 4096;
  std::mutex mutex_;
  std::unique_ptr<std::byte[]> ring_;  // pages that no output reached cost nothing
  std::size_t head_ = 0;
  std::size_t count_ = 0;
  bool wanted_room_ = false;
  bool broken_ = false;
  std::unique_ptr<ReadyWatch> woken_;
  std::unique_ptr<ReadyWatch> writable_;
};

}  // namespace trivet::vmm
