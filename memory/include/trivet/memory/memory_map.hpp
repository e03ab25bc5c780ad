// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>

namespace trivet::memory {

/// The guest memory as it is now: a GuestMemory that is swapped as a whole when the map changes. Readers keep the
/// snapshot they took and never see half a change; a hot path keeps its snapshot and compares `generation`, which is
/// one relaxed load. Thread rule: any thread; changes are serialised.
class MemoryMap {
 public:
  MemoryMap();
  explicit MemoryMap(std::shared_ptr<const GuestMemory> first);

  [[nodiscard]] std::shared_ptr<const GuestMemory> snapshot() const;
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }

  /// `already_exists` when it overlaps (caller).
  Result<void> insert(std::shared_ptr<const Region> region);

  /// The region of exactly this range, which is no longer in the map; `not_found` otherwise (caller).
  Result<std::shared_ptr<const Region>> remove(const GuestRange& range);

  /// Another memory in the place of all of it, at once: for who is given whole maps, as a vhost-user back end is. Null
  /// is no memory.
  void replace(std::shared_ptr<const GuestMemory> next) noexcept;

  /// Pages were taken out of the guest (`IoHandler::pages_removed`): nothing that was mapped on demand is used again.
  /// Whoever holds a Slice keeps what it has until it lets go; queues look their rings up anew.
  void drop_windows() noexcept;

 private:
  void swap(std::shared_ptr<const GuestMemory> next) noexcept;

  mutable std::mutex mutex_;
  std::shared_ptr<const GuestMemory> memory_;
  std::atomic<std::uint64_t> generation_{1};
};

}  // namespace trivet::memory
