// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <fmt/format.h>
#include <limits>

#include <trivet/memory/iotlb.hpp>

namespace trivet::memory {
namespace {

constexpr bool wraps(std::uint64_t start, std::uint64_t size) noexcept {
  return size - 1 > std::numeric_limits<std::uint64_t>::max() - start;
}

/// The part of `mapping` from `first` to `last`, both inside.
IoMapping cut(const IoMapping& mapping, std::uint64_t first, std::uint64_t last) noexcept {
  return {{first}, last - first + 1, mapping.translate({first}), mapping.permission};
}

}  // namespace

Result<void> Iotlb::insert(const IoMapping& mapping) {
  if (mapping.size == 0 || wraps(mapping.start.value, mapping.size) || wraps(mapping.target.value, mapping.size)) {
    return Error(Errc::invalid_argument, "map for a device",
                 fmt::format("{:#x} bytes at {:#x} to {:#x}: empty or wrapping", mapping.size, mapping.start.value,
                             mapping.target.value),
                 Blame::guest);
  }
  invalidate(mapping.start, mapping.size);
  add(mapping);
  return {};
}

void Iotlb::add(const IoMapping& mapping) {
  if (mappings_.size() >= capacity_) {
    auto victim = mappings_.lower_bound(hand_);
    if (victim == mappings_.end()) victim = mappings_.begin();
    hand_ = victim->first + 1;
    mappings_.erase(victim);
  }
  mappings_.insert_or_assign(mapping.start.value, mapping);
}

void Iotlb::invalidate(IoVirtualAddress start, std::uint64_t size) {
  if (size == 0) return;
  const std::uint64_t first = start.value;
  const std::uint64_t last = wraps(first, size) ? std::numeric_limits<std::uint64_t>::max() : first + (size - 1);
  auto next = mappings_.upper_bound(first);
  if (next != mappings_.begin()) --next;
  while (next != mappings_.end() && next->first <= last) {
    const IoMapping old = next->second;
    const std::uint64_t old_last = old.start.value + (old.size - 1);
    if (old_last < first) {
      ++next;
      continue;
    }
    next = mappings_.erase(next);
    // Both ends may stay: that is one more than before, and at the limit another goes.
    if (old.start.value < first) mappings_.emplace(old.start.value, cut(old, old.start.value, first - 1));
    if (old_last > last) {
      add(cut(old, last + 1, old_last));
      return;
    }
  }
}

const IoMapping* Iotlb::find(IoVirtualAddress at) const noexcept {
  auto next = mappings_.upper_bound(at.value);
  if (next == mappings_.begin()) return nullptr;
  --next;
  return next->second.contains(at) ? &next->second : nullptr;
}

}  // namespace trivet::memory
