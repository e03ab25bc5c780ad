// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include <trivet/core/io_handler.hpp>
#include <trivet/core/posted_writes.hpp>

#include "context.hpp"

namespace trivet::kvm {

/// KVM's coalesced writes: zones whose writes the kernel puts into one ring for the whole VM.
/// Source: Linux Documentation/virt/kvm/api.rst, KVM_REGISTER_COALESCED_MMIO.
class CoalescedWrites final : public PostedWrites {
 public:
  explicit CoalescedWrites(const Context& context) noexcept : context_(context) {}

  Result<void> add(Space space, const GuestRange& range) override;
  Result<void> remove(Space space, const GuestRange& range) override;

  /// Hands what the ring holds to `io`, in order. For a runner, with its own mapping of the ring's page. A runner that
  /// finds another at it waits: its own earlier writes may be among them. Costs two loads when the ring is empty.
  void drain(kvm_coalesced_mmio_ring* ring, IoHandler& io) noexcept {
    // Acquire: the kernel writes an entry before it moves `last`.
    if (std::atomic_ref(ring->last).load(std::memory_order_acquire) !=
        std::atomic_ref(ring->first).load(std::memory_order_relaxed)) {
      drain_entries(ring, io);
    }
  }

 private:
  void drain_entries(kvm_coalesced_mmio_ring* ring, IoHandler& io) noexcept;

  const Context& context_;
  std::mutex mutex_;  // of zones_
  std::vector<std::pair<Space, GuestRange>> zones_;
  std::atomic_flag draining_;
};

}  // namespace trivet::kvm
