// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/dirty_bitmap.hpp>
#include <trivet/memory/guest_memory.hpp>
#include <trivet/memory/iotlb.hpp>
#include <trivet/memory/memory_map.hpp>

namespace trivet::memory {

/// Who knows the translations that an Iommu does not have: a virtio-iommu's domain, the front end of a vhost-user
/// device (a message IOTLB_MISS). Thread rule: any thread, one call at a time for each Iommu.
class IoTranslator {
 public:
  virtual ~IoTranslator() = default;

  /// A translation that holds `at` for that permission. It may cover more, which saves questions. `out_of_range`,
  /// `permission` (guest): the guest has mapped nothing there, or not for that. May block, and must not call the Iommu.
  virtual Result<IoMapping> translate(IoVirtualAddress at, Permission permission) = 0;
};

/// The memory of one device behind an IOMMU: what is mapped for it, and which pages of it were written. Its users
/// each have an IommuView. Thread rule: any thread.
class Iommu {
 public:
  /// `dirty`, if there is one, tracks what views write by I/O virtual address from 0, besides what regions track; what
  /// lies beyond it is not tracked.
  explicit Iommu(std::shared_ptr<IoTranslator> translator, std::size_t capacity = Iotlb::default_capacity,
                 std::shared_ptr<DirtyBitmap> dirty = nullptr);

  /// As Iotlb: a translation made known before somebody asks.
  Result<void> insert(const IoMapping& mapping);

  /// What was mapped there is used no longer by accesses that start after this returned.
  void invalidate(IoVirtualAddress start, std::uint64_t size);
  void invalidate_all();

  /// Known, or asked for now. Errors of IoTranslator; `malformed` (host) when its answer does not hold what was asked.
  Result<IoMapping> translate(IoVirtualAddress at, Permission permission);

  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }
  [[nodiscard]] DirtyBitmap* dirty() const noexcept { return dirty_.get(); }
  /// How often the translator was asked.
  [[nodiscard]] std::uint64_t misses() const noexcept { return misses_.load(std::memory_order_relaxed); }

 private:
  std::mutex mutex_;
  Iotlb iotlb_;
  std::shared_ptr<IoTranslator> translator_;
  std::shared_ptr<DirtyBitmap> dirty_;
  std::atomic<std::uint64_t> generation_{1};
  std::atomic<std::uint64_t> misses_{0};
};

/// Guest memory as a device behind an IOMMU addresses it. Keeps the last translation: a hit costs a compare, an add and
/// two loads to see that neither the map nor the memory has changed.
///
/// Every access is checked as in GuestMemory, and has touched nothing when it fails, unless the guest unmaps while it
/// is made. Errors: of Iommu::translate and of GuestMemory. Thread rule: one thread at a time; the Iommu and the map
/// must live as long.
class IommuView {
 public:
  IommuView(Iommu& iommu, const MemoryMap& map);

  Result<void> read(IoVirtualAddress at, Bytes out);
  Result<void> write(IoVirtualAddress at, ConstBytes in);

  /// As in GuestMemory: aligned, one access. An aligned number that two translations share is `invalid_argument`
  /// (guest).
  template <Scalar T>
  Result<T> load(IoVirtualAddress at, std::memory_order order = std::memory_order_relaxed);
  template <Scalar T>
  Result<void> store(IoVirtualAddress at, T value, std::memory_order order = std::memory_order_relaxed);

  /// The bytes as runs into `out`, how many; for writing, call `mark_written` for what was written through them besides
  /// Slice::mark_written. They stay memory whatever the guest unmaps, until the next access of this view. `limit`
  /// (caller): `out` is too short.
  Result<std::size_t> slices(IoVirtualAddress at, std::uint64_t size, Permission permission, std::span<Slice> out);
  void mark_written(IoVirtualAddress at, std::uint64_t size) const noexcept;

 private:
  /// At the start of each access: takes notice of what has changed. The rest of the access sees one GuestMemory.
  void begin() {
    if (map_.generation() != memory_generation_ || iommu_.generation() != generation_) [[unlikely]]
      refresh();
  }
  void refresh();

  /// The first run of what is at `at`: where in guest memory, and how many of `size` bytes.
  Result<GuestRange> step(IoVirtualAddress at, std::uint64_t size, Permission permission);
  /// Whether all of it may be accessed; what it asked for stays known.
  Result<void> check(IoVirtualAddress at, std::uint64_t size, Permission permission);
  /// Calls `use(where, I/O address)` for each run.
  template <class Use>
  Result<void> walk(IoVirtualAddress at, std::uint64_t size, Permission permission, Use use);

  Iommu& iommu_;
  const MemoryMap& map_;
  std::shared_ptr<const GuestMemory> memory_;
  std::uint64_t memory_generation_ = 0;
  std::uint64_t generation_ = 0;
  IoMapping last_;
};

template <Scalar T>
Result<T> IommuView::load(IoVirtualAddress at, std::memory_order order) {
  begin();
  TRIVET_ASSIGN(const GuestRange where, step(at, sizeof(T), Permission::read));
  if (where.size != sizeof(T)) return Error(Errc::invalid_argument, "read for a device", "split", Blame::guest);
  return memory_->template load<T>(where.start, order);
}

template <Scalar T>
Result<void> IommuView::store(IoVirtualAddress at, T value, std::memory_order order) {
  begin();
  TRIVET_ASSIGN(const GuestRange where, step(at, sizeof(T), Permission::write));
  if (where.size != sizeof(T)) return Error(Errc::invalid_argument, "write for a device", "split", Blame::guest);
  TRIVET_TRY(memory_->template store<T>(where.start, value, order));
  mark_written(at, sizeof(T));
  return {};
}

}  // namespace trivet::memory
