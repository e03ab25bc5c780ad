// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/access.hpp>
#include <trivet/memory/build.hpp>
#include <trivet/memory/dirty_bitmap.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/memory/slice.hpp>

namespace trivet::memory {

/// All of a guest's memory: sorted regions that do not overlap. Immutable; a changed map is another GuestMemory (see
/// MemoryMap).
///
/// Every access is checked: `out_of_range` names the address when a byte lies in no region, `permission` when it writes
/// memory that is read-only for the guest. Both blame the guest. A failed access has touched nothing. Accesses may
/// cross adjacent regions. Guest vCPUs change the bytes at any time; up to 8 aligned bytes move in one access, more by
/// copy. Thread rule: any thread; allocates nothing, takes no lock.
///
/// In the xen build memory that is mapped on demand is mapped by the access, with the errors of PageMapper::map besides
/// (then a lock is taken, and `limit` is the answer to a write of more than 4 MiB at once).
class GuestMemory {
 public:
  using Regions = std::vector<std::shared_ptr<const Region>>;

  /// Sorts them. `already_exists` when two overlap, `invalid_argument` when one is null (caller).
  static Result<std::shared_ptr<const GuestMemory>> create(Regions regions);

  /// No memory at all.
  static std::shared_ptr<const GuestMemory> empty();

  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;
  ~GuestMemory() = default;

  [[nodiscard]] const Regions& regions() const noexcept { return regions_; }

  /// The region that holds `at`, or null.
  [[nodiscard]] const Region* find(GuestAddress at) const noexcept {
    const Entry* entry = find_any(at);
    return entry != nullptr ? entry->region : nullptr;
  }

  /// The bytes as one run, or nothing: `slice` for where the reason does not matter, or is asked for later. Never what
  /// is mapped on demand.
  [[nodiscard]] std::optional<Slice> find(const GuestRange& range, Permission permission) const noexcept {
    const Entry* entry = find_whole(range.start, range.size, permission);
    if (entry == nullptr || range.size == 0) [[unlikely]]
      return std::nullopt;
    return Slice(entry->host + (range.start.value - entry->start), range.size, entry->region);
  }

  /// Where the bytes may be read from, null unless they are one run. Never what is mapped on demand.
  [[nodiscard]] const std::byte* find_host(GuestAddress at, std::uint64_t size) const noexcept {
    const Entry* entry = find_whole(at, size, Permission::read);
    return entry != nullptr ? entry->host + (at.value - entry->start) : nullptr;
  }

  /// Moves the bytes where they are one run, else false and nothing is touched; `read` and `write` for where the reason
  /// does not matter, or is asked for later. Never what is mapped on demand.
  [[nodiscard]] bool read_whole(GuestAddress at, Bytes out) const noexcept {
    const Entry* entry = find_whole(at, out.size(), Permission::read);
    if (entry == nullptr) [[unlikely]]
      return false;
    copy_out(out.data(), entry->host + (at.value - entry->start), out.size());
    return true;
  }
  [[nodiscard]] bool write_whole(GuestAddress at, ConstBytes in) const noexcept {
    const Entry* entry = find_whole(at, in.size(), Permission::write);
    if (entry == nullptr) [[unlikely]]
      return false;
    const std::uint64_t offset = at.value - entry->start;
    copy_in(entry->host + offset, in.data(), in.size());
    if (entry->dirty != nullptr) entry->dirty->mark(offset, in.size());
    return true;
  }

  /// Whether every byte of the range is memory. An empty or wrapping range is not.
  [[nodiscard]] bool contains(const GuestRange& range) const noexcept;

  /// Whether that access may be made, with the error that it would give; what is mapped on demand is not tried.
  Result<void> check(const GuestRange& range, Permission permission) const noexcept {
    if (auto error = refusal(range.start, range.size, permission)) return *error;
    return {};
  }

  Result<void> read(GuestAddress at, Bytes out) const noexcept;
  Result<void> write(GuestAddress at, ConstBytes in) const noexcept;
  Result<void> fill(const GuestRange& range, std::byte value) const noexcept;

  /// Naturally aligned, else `invalid_argument` (guest); one access with the given order. Little-endian as the guest
  /// has it.
  template <Scalar T>
  Result<T> load(GuestAddress at, std::memory_order order = std::memory_order_relaxed) const noexcept;
  template <Scalar T>
  Result<void> store(GuestAddress at, T value, std::memory_order order = std::memory_order_relaxed) const noexcept;

  template <Plain T>
  Result<T> read_object(GuestAddress at) const noexcept;
  template <Plain T>
  Result<void> write_object(GuestAddress at, const T& object) const noexcept;

  /// The bytes as one run; `out_of_range` also where they cross regions or are none; `limit` (guest) beyond 1 MiB of
  /// what is mapped on demand.
  Result<Slice> slice(const GuestRange& range, Permission permission) const noexcept;

  /// The first run: from `at`, at most `limit` bytes (not 0), to the end of its region at most, or less.
  Result<Slice> run(GuestAddress at, std::uint64_t limit, Permission permission) const noexcept;

  /// The bytes as runs into `out`: one a region, and one a megabyte where mapped on demand; how many. `limit` (caller)
  /// when `out` is too short.
  Result<std::size_t> slices(const GuestRange& range, Permission permission, std::span<Slice> out) const noexcept;

  /// Whether any of it is mapped on demand.
  [[nodiscard]] bool has_on_demand() const noexcept { return maps_on_demand && !on_demand_.empty(); }

  /// Unmaps what was mapped on demand and is not in use: before a guest is told that it has its pages back, for it may
  /// end their grants.
  void release_idle() const noexcept {
    if constexpr (maps_on_demand) {
      if (!on_demand_.empty()) [[unlikely]]
        release_idle_windows();
    }
  }

  /// The same, and what is in use is mapped anew by the next access: pages were taken out of the guest.
  void drop_windows() const noexcept;

 private:
  /// What a look-up needs of a region, side by side.
  struct Entry {
    std::uint64_t start = 0;
    std::uint64_t size = 0;
    std::byte* host = nullptr;
    DirtyBitmap* dirty = nullptr;
    const Region* region = nullptr;
    bool writable = false;
  };

  explicit GuestMemory(Regions regions);

  [[nodiscard]] const Entry* find_entry(GuestAddress at) const noexcept {
    const Entry* hit = last_hit_.load(std::memory_order_relaxed);
    return at.value - hit->start < hit->size ? hit : search(at);
  }
  [[nodiscard]] const Entry* search(GuestAddress at) const noexcept;

  /// The entry that holds all of `size` bytes at `at`, for that permission; null otherwise.
  [[nodiscard]] const Entry* find_whole(GuestAddress at, std::uint64_t size, Permission permission) const noexcept {
    const Entry* entry = find_entry(at);
    const bool whole = entry != nullptr && size <= entry->size - (at.value - entry->start) &&
                       (permission == Permission::read || entry->writable);
    return whole ? entry : nullptr;
  }

  /// Also where there is no host address.
  [[nodiscard]] const Entry* find_any(GuestAddress at) const noexcept {
    const Entry* entry = find_entry(at);
    if constexpr (maps_on_demand) {
      if (entry == nullptr) [[unlikely]]
        return find_on_demand(at);
    }
    return entry;
  }

  // Memory that is mapped on demand, all out of line: on_demand.cpp.
  [[nodiscard]] const Entry* find_on_demand(GuestAddress at) const noexcept;
  [[gnu::cold]] Result<Slice> map_run(GuestAddress at, std::uint64_t limit, Permission permission) const noexcept;
  [[gnu::cold]] Result<Slice> map_scalar(GuestAddress at, std::size_t size, Permission permission) const noexcept;
  [[gnu::cold]] Result<Slice> map_whole(const GuestRange& range, Permission permission) const noexcept;
  [[gnu::cold]] Result<void> read_runs(GuestAddress at, Bytes out) const noexcept;
  /// Calls `change(slice, bytes before it)` for each run once all of them are mapped.
  template <class Change>
  Result<void> change_runs(const GuestRange& range, Change change) const noexcept;
  [[gnu::cold]] Result<void> write_runs(GuestAddress at, ConstBytes in) const noexcept;
  [[gnu::cold]] Result<void> fill_runs(const GuestRange& range, std::byte value) const noexcept;
  [[gnu::cold]] void release_idle_windows() const noexcept;

  template <Scalar T>
  [[gnu::noinline, gnu::cold]] Result<T> load_mapped(GuestAddress at, std::memory_order order) const noexcept {
    const auto slice = map_scalar(at, sizeof(T), Permission::read);
    if (!slice) return slice.error();
    return load_at<T>(slice->host(), order);
  }
  template <Scalar T>
  [[gnu::noinline, gnu::cold]] Result<void> store_mapped(GuestAddress at, T value,
                                                         std::memory_order order) const noexcept {
    const auto slice = map_scalar(at, sizeof(T), Permission::write);
    if (!slice) return slice.error();
    store_at<T>(slice->host(), value, order);
    return {};
  }

  /// Why `size` bytes at `at` may not be accessed; nothing when they may.
  [[nodiscard]] std::optional<Error> refusal(GuestAddress at, std::uint64_t size, Permission permission) const noexcept;
  [[nodiscard]] static Error misaligned(GuestAddress at, std::size_t size) noexcept;
  [[nodiscard]] Error scalar_refusal(GuestAddress at, std::size_t size, Permission permission) const noexcept;

  Regions regions_;
  std::vector<Entry> entries_;  // those with a host address, the last one repeated up to a power of two; or empty
  std::vector<std::uint64_t> starts_;           // theirs, close together for the search
  std::size_t half_ = 0;                        // of how many those are
  mutable std::atomic<const Entry*> last_hit_;  // a hint: the guest's accesses keep to one region for long
  std::vector<Entry> on_demand_;                // the others: kept apart, so that they cost the first nothing
};

template <Scalar T>
inline Result<T> GuestMemory::load(GuestAddress at, std::memory_order order) const noexcept {
  const Entry* entry = find_entry(at);
  // Regions are page aligned: what is aligned and starts inside ends inside.
  if (entry == nullptr || !at.is_aligned(sizeof(T))) [[unlikely]] {
    if constexpr (maps_on_demand) {
      // Not handed on as it stands: the Result of a hit would have to lie in memory, too.
      TRIVET_ASSIGN(const T value, load_mapped<T>(at, order));
      return value;
    }
    return scalar_refusal(at, sizeof(T), Permission::read);
  }
  return load_at<T>(entry->host + (at.value - entry->start), order);
}

template <Scalar T>
inline Result<void> GuestMemory::store(GuestAddress at, T value, std::memory_order order) const noexcept {
  const Entry* entry = find_entry(at);
  if (entry == nullptr || !entry->writable || !at.is_aligned(sizeof(T))) [[unlikely]] {
    if constexpr (maps_on_demand) {
      TRIVET_TRY(store_mapped<T>(at, value, order));
      return {};
    }
    return scalar_refusal(at, sizeof(T), Permission::write);
  }
  const std::uint64_t offset = at.value - entry->start;
  store_at<T>(entry->host + offset, value, order);
  if (entry->dirty != nullptr) entry->dirty->mark(offset, sizeof(T));
  return {};
}

template <Plain T>
inline Result<T> GuestMemory::read_object(GuestAddress at) const noexcept {
  if (const std::byte* from = find_host(at, sizeof(T))) [[likely]]
    return Result<T>(tl::in_place, ObjectAt<T>{from});
  T object{};
  TRIVET_TRY(read(at, std::as_writable_bytes(std::span(&object, 1))));
  return object;
}

template <Plain T>
inline Result<void> GuestMemory::write_object(GuestAddress at, const T& object) const noexcept {
  const ConstBytes bytes = std::as_bytes(std::span(&object, 1));
  if (!write_whole(at, bytes)) [[unlikely]]
    return write(at, bytes);
  return {};
}

}  // namespace trivet::memory
