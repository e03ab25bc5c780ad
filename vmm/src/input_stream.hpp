// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>

#include <trivet/core/bytes.hpp>
#include <trivet/core/event.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/vmm/event_loop.hpp>

namespace trivet::vmm {

/// Bytes on their way into the machine. Reads only as much as somebody takes: what is not taken waits here (at most
/// 256 bytes) and nothing more is read until `resume`.
class InputStream {
 public:
  /// On the loop: takes bytes, says how many.
  using Take = std::function<std::size_t(ConstBytes)>;

  /// `fd` is the stream's own (a duplicate). Starts reading when the loop does.
  static Result<std::unique_ptr<InputStream>> create(EventLoop& loop, UniqueFd fd, Take take);

  /// There is room again. Any thread; costs nothing unless bytes wait.
  void resume() noexcept;

 private:
  InputStream(UniqueFd fd, Event wake, Take take) noexcept
      : fd_(std::move(fd)), wake_(std::move(wake)), take_(std::move(take)) {}
  void on_readable();
  /// Offers what waits; whether all of it was taken.
  bool offer();

  UniqueFd fd_;
  Event wake_;
  Take take_;
  std::array<std::byte, 256> waiting_{};
  std::size_t head_ = 0;
  std::size_t count_ = 0;
  std::atomic<bool> stalled_{false};
  std::unique_ptr<ReadyWatch> readable_;
  std::unique_ptr<ReadyWatch> woken_;
};

}  // namespace trivet::vmm
