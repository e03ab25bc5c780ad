// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <vector>

#include <trivet/core/dirty_log.hpp>
#include <trivet/core/result.hpp>

#include "abi.hpp"
#include "mapping.hpp"

namespace trivet::kvm {

/// The per-vCPU rings of written pages, gathered into a bitmap for each slot. No page is lost: an entry is set in the
/// bitmap before its place in the ring is given back, and its page is protected again before `take` returns.
///
/// Thread rule: any thread; takes a lock, so a runner calls it only when its ring is full.
/// Source: Linux Documentation/virt/kvm/api.rst, KVM_CAP_DIRTY_LOG_RING.
class DirtyRings {
 public:
  explicit DirtyRings(std::uint32_t entries) noexcept : entries_(entries) {}

  /// The VM's descriptor, once it is there.
  void set_vm(int vm_fd) noexcept { vm_fd_ = vm_fd; }

  /// Maps a new vCPU's ring.
  Result<void> add_vcpu(int vcpu_fd);

  void add_slot(std::uint32_t slot, std::uint64_t pages);
  /// After the kernel has dropped it: entries of it that are still in the rings go with it.
  void remove_slot(std::uint32_t slot);

  /// Empties the rings into the bitmaps.
  Result<void> harvest();

  Result<DirtyBitmap> take(std::uint32_t slot);

 private:
  struct Ring {
    Mapping mapping;
    std::uint32_t next = 0;  // the entry to look at
  };
  struct Slot {
    std::uint64_t pages = 0;
    DirtyBitmap bitmap;
  };

  Result<void> harvest_locked();
  bool harvest_ring(Ring& ring);

  const std::uint32_t entries_;
  int vm_fd_ = -1;
  std::mutex mutex_;
  std::vector<Ring> rings_;
  std::map<std::uint32_t, Slot> slots_;
};

}  // namespace trivet::kvm
