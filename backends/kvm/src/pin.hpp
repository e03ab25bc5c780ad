// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>

#include <trivet/core/irq_router.hpp>

namespace trivet::kvm {

/// One input pin of the controllers in the kernel, shared by the lines of its GSI: their levels are OR-ed, as wires
/// are.
///
/// The kernel call must follow the latest state though several threads change it, without a lock: the first that finds
/// nobody at it makes the calls, and again for whoever came meanwhile. Thread rule: any thread.
class Pin {
 public:
  Pin(int vm_fd, std::uint32_t gsi, Trigger trigger) noexcept : vm_fd_(vm_fd), gsi_(gsi), trigger_(trigger) {}

  [[nodiscard]] Trigger trigger() const noexcept { return trigger_; }

  /// One more or one fewer that holds the level up.
  Result<void> hold() noexcept;
  Result<void> release() noexcept;
  /// Up and down again, for an edge; stays up where someone holds it.
  Result<void> pulse() noexcept;

 private:
  Result<void> apply(bool edge) noexcept;
  Result<void> set(bool level) const noexcept;

  const int vm_fd_;
  const std::uint32_t gsi_;
  const Trigger trigger_;
  std::atomic<std::uint32_t> holders_{0};
  std::atomic<bool> edge_{false};
  std::atomic<std::uint32_t> changes_{0};  // not yet told to the kernel; above 0 while a thread is at it
};

}  // namespace trivet::kvm
