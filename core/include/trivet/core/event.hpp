// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>

namespace trivet {

/// A counting event that a descriptor can be waited on for: Linux's eventfd, non-blocking, close-on-exec.
/// Thread rule: any thread; `signal` is async-signal-safe. Source: eventfd(2).
class Event {
 public:
  /// Fails with `limit` or `no_memory` when the host gives no descriptor.
  static Result<Event> create();

  /// Adds one. A full counter (2^64 - 2 signals not taken) stays full.
  void signal() const noexcept;

  /// The signals since the last take, and starts again from 0.
  [[nodiscard]] std::uint64_t take() const noexcept;

  /// For poll, irqfd, ioeventfd; stays owned by this object.
  [[nodiscard]] int fd() const noexcept { return fd_.value(); }

 private:
  explicit Event(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace trivet
