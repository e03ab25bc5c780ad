// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>

namespace trivet::test::vhost_user {

/// A descriptor's number that stays while what is behind it is changed: who signals through it needs no lock, and never
/// meets a number that is another's by now. Thread rule: `signal` and `send` from any thread, the rest from one.
class FdSlot {
 public:
  static Result<FdSlot> create();

  /// What `fd` refers to is behind the slot too.
  Result<void> put(const UniqueFd& fd) noexcept;
  /// Nobody is behind it.
  void clear() noexcept;

  /// Adds one, if an event is behind it.
  void signal() const noexcept;
  /// Sends, if a socket that takes it is behind it.
  void send(const void* data, std::size_t size) const noexcept;

 private:
  FdSlot(UniqueFd nobody, UniqueFd slot) noexcept : nobody_(std::move(nobody)), slot_(std::move(slot)) {}

  UniqueFd nobody_;  // an event that nobody waits for
  UniqueFd slot_;
};

}  // namespace trivet::test::vhost_user
