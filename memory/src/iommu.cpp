// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include <trivet/memory/iommu.hpp>

namespace trivet::memory {
Iommu::Iommu(std::shared_ptr<IoTranslator> translator, std::size_t capacity, std::shared_ptr<DirtyBitmap> dirty)
    : iotlb_(capacity), translator_(std::move(translator)), dirty_(std::move(dirty)) {}

Result<void> Iommu::insert(const IoMapping& mapping) {
  const std::lock_guard lock(mutex_);
  TRIVET_TRY(iotlb_.insert(mapping));
  generation_.fetch_add(1, std::memory_order_release);
  return {};
}

void Iommu::invalidate(IoVirtualAddress start, std::uint64_t size) {
  const std::lock_guard lock(mutex_);
  iotlb_.invalidate(start, size);
  generation_.fetch_add(1, std::memory_order_release);
}

void Iommu::invalidate_all() {
  const std::lock_guard lock(mutex_);
  iotlb_.clear();
  generation_.fetch_add(1, std::memory_order_release);
}

Result<IoMapping> Iommu::translate(IoVirtualAddress at, Permission permission) {
  // Held while the translator answers: an invalidation that comes meanwhile waits, and then meets the answer.
  const std::lock_guard lock(mutex_);
  const IoMapping* known = iotlb_.find(at);
  if (known != nullptr && known->permission.allows(permission)) return *known;
  misses_.fetch_add(1, std::memory_order_relaxed);
  TRIVET_ASSIGN(const IoMapping answer, translator_->translate(at, permission));
  if (!answer.contains(at) || !answer.permission.allows(permission)) {
    return Error(Errc::malformed, "ask for a translation",
                 fmt::format("{:#x}: the answer is {:#x} bytes at {:#x}{}", at.value, answer.size, answer.start.value,
                             answer.contains(at) ? ", without the permission" : ""),
                 Blame::host);
  }
  TRIVET_TRY(iotlb_.insert(answer));
  return answer;
}

IommuView::IommuView(Iommu& iommu, const MemoryMap& map) : iommu_(iommu), map_(map) {}

void IommuView::refresh() {
  // Each generation before what it tells of: a change that comes in between is seen the next time.
  memory_generation_ = map_.generation();
  memory_ = map_.snapshot();
  generation_ = iommu_.generation();
  last_ = {};
}

Result<GuestRange> IommuView::step(IoVirtualAddress at, std::uint64_t size, Permission permission) {
  if (!last_.contains(at) || !last_.permission.allows(permission)) [[unlikely]] {
    TRIVET_ASSIGN(last_, iommu_.translate(at, permission));
  }
  return GuestRange{last_.translate(at), std::min(size, last_.size - (at.value - last_.start.value))};
}

template <class Use>
Result<void> IommuView::walk(IoVirtualAddress at, std::uint64_t size, Permission permission, Use use) {
  if (size != 0 && size - 1 > ~at.value) {
    return Error(Errc::out_of_range, "access memory for a device",
                 fmt::format("{:#x} bytes at {:#x} wrap", size, at.value), Blame::guest);
  }
  while (size != 0) {
    TRIVET_ASSIGN(const GuestRange where, step(at, size, permission));
    TRIVET_TRY(use(where, at));
    at.value += where.size;
    size -= where.size;
  }
  return {};
}

Result<void> IommuView::check(IoVirtualAddress at, std::uint64_t size, Permission permission) {
  return walk(at, size, permission,
              [&](const GuestRange& where, IoVirtualAddress) { return memory_->check(where, permission); });
}

Result<void> IommuView::read(IoVirtualAddress at, Bytes out) {
  begin();
  TRIVET_TRY(check(at, out.size(), Permission::read));
  return walk(at, out.size(), Permission::read, [&](const GuestRange& where, IoVirtualAddress here) {
    return memory_->read(where.start, out.subspan(here.value - at.value, where.size));
  });
}

Result<void> IommuView::write(IoVirtualAddress at, ConstBytes in) {
  begin();
  TRIVET_TRY(check(at, in.size(), Permission::write));
  return walk(at, in.size(), Permission::write, [&](const GuestRange& where, IoVirtualAddress here) -> Result<void> {
    TRIVET_TRY(memory_->write(where.start, in.subspan(here.value - at.value, where.size)));
    mark_written(here, where.size);
    return {};
  });
}

Result<std::size_t> IommuView::slices(IoVirtualAddress at, std::uint64_t size, Permission permission,
                                      std::span<Slice> out) {
  begin();
  std::size_t count = 0;
  const auto all = walk(at, size, permission, [&](const GuestRange& where, IoVirtualAddress) -> Result<void> {
    TRIVET_ASSIGN(const std::size_t more, memory_->slices(where, permission, out.subspan(count)));
    count += more;
    return {};
  });
  if (all) return count;
  forget(out.first(count));
  return all.error();
}

void IommuView::mark_written(IoVirtualAddress at, std::uint64_t size) const noexcept {
  if (DirtyBitmap* const dirty = iommu_.dirty()) dirty->mark(at.value, size);
}

}  // namespace trivet::memory
