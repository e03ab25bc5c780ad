// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "dirty_ring.hpp"

#include <atomic>
#include <utility>

#include "ioctl.hpp"

namespace trivet::kvm {

Result<void> DirtyRings::add_vcpu(int vcpu_fd) {
  TRIVET_ASSIGN(auto mapping, Mapping::create(vcpu_fd, KVM_DIRTY_LOG_PAGE_OFFSET * page_size,
                                              entries_ * sizeof(kvm_dirty_gfn), "the dirty ring"));
  const std::scoped_lock lock(mutex_);
  rings_.push_back({std::move(mapping), 0});
  return {};
}

void DirtyRings::add_slot(std::uint32_t slot, std::uint64_t pages) {
  const std::scoped_lock lock(mutex_);
  slots_[slot] = {pages, DirtyBitmap((pages + 63) / 64)};
}

void DirtyRings::remove_slot(std::uint32_t slot) {
  const std::scoped_lock lock(mutex_);
  // What is left of it must not be taken for the slot's next region. A failing reset leaves entries that are marked
  // already.
  (void)harvest_locked();
  slots_.erase(slot);
}

bool DirtyRings::harvest_ring(Ring& ring) {
  // SAFETY: the kernel lays out entries_ of them in this mapping; it is page aligned.
  const std::span entries(reinterpret_cast<kvm_dirty_gfn*>(ring.mapping.data()), entries_);
  bool any = false;
  while (true) {
    auto& entry = entries[ring.next % entries_];
    // Acquire: the kernel fills the entry before it sets the flag. Release below: it must see us done with it.
    if (std::atomic_ref(entry.flags).load(std::memory_order_acquire) != KVM_DIRTY_GFN_F_DIRTY) return any;
    // The upper half of the slot number is the address space (SMM), which has a map of its own that we do not fill.
    const auto found = slots_.find(entry.slot & 0xffff);
    if (found != slots_.end() && entry.offset < found->second.pages) {
      found->second.bitmap[entry.offset / 64] |= std::uint64_t{1} << (entry.offset % 64);
    }
    std::atomic_ref(entry.flags).store(KVM_DIRTY_GFN_F_RESET, std::memory_order_release);
    ++ring.next;
    any = true;
  }
}

Result<void> DirtyRings::harvest_locked() {
  bool any = false;
  for (auto& ring : rings_) any = harvest_ring(ring) || any;
  if (any) TRIVET_TRY(call(vm_fd_, TRIVET_KVM_REQUEST(KVM_RESET_DIRTY_RINGS, void)));
  return {};
}

Result<void> DirtyRings::harvest() {
  const std::scoped_lock lock(mutex_);
  return harvest_locked();
}

Result<DirtyBitmap> DirtyRings::take(std::uint32_t slot) {
  const std::scoped_lock lock(mutex_);
  TRIVET_TRY(harvest_locked());
  auto& kept = slots_.at(slot);
  return std::exchange(kept.bitmap, DirtyBitmap((kept.pages + 63) / 64));
}

}  // namespace trivet::kvm
