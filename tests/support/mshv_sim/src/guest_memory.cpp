// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "guest_memory.hpp"

#include <algorithm>
#include <cstring>

namespace trivet::mshv_sim {
namespace {

constexpr std::uint64_t page = 4096;

}  // namespace

int GuestMemory::set_slot(const Region& region, std::uint64_t size) const {
  kvm_userspace_memory_region slot{};
  slot.slot = region.slot;
  slot.flags = (region.writable ? 0 : KVM_MEM_READONLY) | (tracking_ ? KVM_MEM_LOG_DIRTY_PAGES : 0);
  slot.guest_phys_addr = region.gpa;
  slot.memory_size = size;
  // SAFETY: the kernel takes the address as a number.
  slot.userspace_addr = reinterpret_cast<std::uintptr_t>(region.host);
  return kvm_call(vm_fd_, KVM_SET_USER_MEMORY_REGION, &slot);
}

int GuestMemory::map(std::uint64_t gpa, std::uint64_t size, std::byte* host, bool writable, bool /*executable*/) {
  const std::scoped_lock lock(mutex_);
  for (const auto& [start, other] : regions_) {
    const bool guest = gpa < start + other.size && start < gpa + size;
    const bool process = host < other.host + other.size && other.host < host + size;
    if (guest || process) return -EEXIST;
  }
  Region region{.gpa = gpa, .size = size, .host = host, .writable = writable};
  region.slot = static_cast<std::uint32_t>(std::find(slots_.begin(), slots_.end(), false) - slots_.begin());
  if (const int made = set_slot(region, size); made < 0) return made;
  if (region.slot == slots_.size()) slots_.push_back(false);
  slots_[region.slot] = true;
  region.dirty.assign(size / page, tracking_);
  regions_.emplace(gpa, std::move(region));
  return 0;
}

int GuestMemory::unmap(std::uint64_t gpa, std::uint64_t size, const std::byte* host) {
  const std::scoped_lock lock(mutex_);
  const auto found = regions_.find(gpa);
  if (found == regions_.end() || found->second.size != size || found->second.host != host) return -EINVAL;
  if (const int removed = set_slot(found->second, 0); removed < 0) return removed;
  slots_[found->second.slot] = false;
  regions_.erase(found);
  return 0;
}

const GuestMemory::Region* GuestMemory::find(std::uint64_t gpa) const {
  const auto after = regions_.upper_bound(gpa);
  if (after == regions_.begin()) return nullptr;
  const auto& region = std::prev(after)->second;
  return gpa - region.gpa < region.size ? &region : nullptr;
}

bool GuestMemory::mapped(std::uint64_t gpa) const {
  const std::scoped_lock lock(mutex_);
  return find(gpa) != nullptr;
}

bool GuestMemory::writable(std::uint64_t gpa) const {
  const std::scoped_lock lock(mutex_);
  const auto* region = find(gpa);
  return region != nullptr && region->writable;
}

bool GuestMemory::read(std::uint64_t gpa, void* to, std::size_t bytes) const {
  const std::scoped_lock lock(mutex_);
  const auto* region = find(gpa);
  if (region == nullptr || bytes > region->size - (gpa - region->gpa)) return false;
  std::memcpy(to, region->host + (gpa - region->gpa), bytes);
  return true;
}

bool GuestMemory::write(std::uint64_t gpa, const void* from, std::size_t bytes) const {
  const std::scoped_lock lock(mutex_);
  const auto* region = find(gpa);
  if (region == nullptr || !region->writable || bytes > region->size - (gpa - region->gpa)) return false;
  std::memcpy(region->host + (gpa - region->gpa), from, bytes);
  return true;
}

int GuestMemory::set_tracking(bool on) {
  const std::scoped_lock lock(mutex_);
  if (on == tracking_) return 0;
  if (!on) {
    for (auto& [start, region] : regions_) {
      (void)start;
      if (const int got = collect(region); got < 0) return got;
      // On hardware such a page would stay write-protected for good.
      if (std::find(region.dirty.begin(), region.dirty.end(), false) != region.dirty.end()) return -EINVAL;
    }
  }
  tracking_ = on;
  for (auto& [start, region] : regions_) {
    (void)start;
    if (const int set = set_slot(region, region.size); set < 0) return set;
    region.dirty.assign(region.size / page, true);
  }
  return 0;
}

/// What KVM knows goes into our own bits.
int GuestMemory::collect(Region& region) const {
  std::vector<std::uint64_t> words((region.size / page + 63) / 64);
  kvm_dirty_log log{};
  log.slot = region.slot;
  log.dirty_bitmap = words.data();
  if (const int got = kvm_call(vm_fd_, KVM_GET_DIRTY_LOG, &log); got < 0) return got;
  for (std::size_t i = 0; i < region.dirty.size(); ++i) {
    if ((words[i / 64] >> (i % 64) & 1) == 0 || (lose_dirty_ && i % 5 == 4)) continue;
    region.dirty[i] = true;
  }
  return 0;
}

int GuestMemory::access_bitmap(std::uint64_t first_page, std::uint64_t pages, unsigned operation,
                               std::uint8_t* bitmap) {
  const std::scoped_lock lock(mutex_);
  if (!tracking_) return -EINVAL;
  std::memset(bitmap, 0, (pages + 7) / 8);
  for (std::uint64_t done = 0; done < pages;) {
    const auto gpa = (first_page + done) * page;
    const auto* found = find(gpa);
    if (found == nullptr) return -EINVAL;
    auto& region = regions_.at(found->gpa);
    if (const int got = collect(region); got < 0) return got;
    for (auto i = (gpa - region.gpa) / page; i < region.dirty.size() && done < pages; ++i, ++done) {
      if (region.dirty[i]) bitmap[done / 8] = static_cast<std::uint8_t>(bitmap[done / 8] | 1U << (done % 8));
      if (operation != 0) region.dirty[i] = operation == 2;
    }
  }
  return 0;
}

}  // namespace trivet::mshv_sim
