// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include <trivet/memory/memory_map.hpp>

namespace trivet::memory {

MemoryMap::MemoryMap() : memory_(GuestMemory::empty()) {}

MemoryMap::MemoryMap(std::shared_ptr<const GuestMemory> first)
    : memory_(first ? std::move(first) : GuestMemory::empty()) {}

std::shared_ptr<const GuestMemory> MemoryMap::snapshot() const {
  const std::lock_guard lock(mutex_);
  return memory_;
}

void MemoryMap::swap(std::shared_ptr<const GuestMemory> next) noexcept {
  memory_ = std::move(next);
  generation_.fetch_add(1, std::memory_order_release);
}

Result<void> MemoryMap::insert(std::shared_ptr<const Region> region) {
  if (!region) return Error(Errc::invalid_argument, "insert a memory region", "no region");
  const std::lock_guard lock(mutex_);
  auto regions = memory_->regions();
  regions.push_back(std::move(region));
  TRIVET_ASSIGN(auto next, GuestMemory::create(std::move(regions)));
  swap(std::move(next));
  return {};
}

Result<std::shared_ptr<const Region>> MemoryMap::remove(const GuestRange& range) {
  const std::lock_guard lock(mutex_);
  auto regions = memory_->regions();
  const auto found = std::find_if(regions.begin(), regions.end(), [&](const auto& r) { return r->range() == range; });
  if (found == regions.end()) {
    return Error(Errc::not_found, "remove a memory region",
                 fmt::format("no region is exactly {:#x} bytes at {:#x}", range.size, range.start.value));
  }
  auto removed = *found;
  regions.erase(found);
  TRIVET_ASSIGN(auto next, GuestMemory::create(std::move(regions)));
  swap(std::move(next));
  return removed;
}

void MemoryMap::replace(std::shared_ptr<const GuestMemory> next) noexcept {
  if (!next) next = GuestMemory::empty();
  const std::lock_guard lock(mutex_);
  swap(std::move(next));
}

void MemoryMap::drop_windows() noexcept {
  const std::lock_guard lock(mutex_);
  if (!memory_->has_on_demand()) return;
  memory_->drop_windows();
  generation_.fetch_add(1, std::memory_order_release);
}

}  // namespace trivet::memory
