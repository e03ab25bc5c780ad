// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include <trivet/core/address.hpp>
#include <trivet/core/region.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/dirty_bitmap.hpp>
#include <trivet/memory/mapping.hpp>
#include <trivet/memory/page_mapper.hpp>

namespace trivet::memory {

class WindowCache;

/// Whose pages a region is made of, and how they came here.
enum class RegionKind : std::uint8_t {
  host,             ///< of this host's memory, or mapped by the Vm
  foreign,          ///< another domain's frames
  grant,            ///< what another domain granted, mapped all at once
  grant_on_demand,  ///< ... mapped for the access
};

/// Another domain's pages: those that follow `first_page` of `mapper`, one for each page of the region.
struct DomainPages {
  std::shared_ptr<PageMapper> mapper;
  std::uint64_t first_page = 0;      ///< the frame number or grant reference behind the region's first page
  bool on_demand = false;            ///< grants only: mapped for the access, so that most of them need not exist
  std::uint32_t cached_pages = 64;   ///< on demand: at most so many stay mapped while nobody uses them
  std::uint32_t most_pages = 16384;  ///< on demand: at most so many are mapped at once (not 0)
};

/// One piece of guest memory as this process sees it: a guest range, the host memory behind it, who may write it and,
/// where asked for, which pages this process wrote.
///
/// A region of another domain (the xen build only) looks like any other to those who access it through GuestMemory and
/// Slice; on demand it has no host address, and the Slice keeps mapped what it refers to.
///
/// Immutable but for the bytes and the bitmap. Shared by every GuestMemory that holds it; keeps its mapping alive.
/// Thread rule: any thread.
class Region {
 public:
  /// What the guest may do with the region, and whether this process tracks what it writes.
  struct Options {
    Access access = Access::read_write;  ///< what the *guest* may do: devices must not write read-only memory either
    bool track_dirty = false;
  };

  /// Memory that the region owns. `invalid_argument`: the range is empty, wraps, or its size is not the mapping's
  /// (caller).
  static Result<std::shared_ptr<const Region>> create(GuestAddress start, Mapping mapping, Options options);
  static Result<std::shared_ptr<const Region>> create(GuestAddress start, Mapping mapping);

  /// Memory that a Vm mapped (`Vm::map`); must be taken out of every GuestMemory before `Vm::unmap`.
  static Result<std::shared_ptr<const Region>> create(const MappedRegion& mapped, bool track_dirty = false);

  /// Pages of another domain. Mapped at once: as PageMapper::map for all of them. On demand: nothing is mapped yet, and
  /// each access gives the errors of PageMapper::map. `unsupported` (caller): the mmap build, or a dirty bitmap or
  /// frames on demand. `invalid_argument` (caller): no mapper, or more pages than it can have.
  static Result<std::shared_ptr<const Region>> create(GuestAddress start, std::uint64_t size, DomainPages pages,
                                                      Options options);
  static Result<std::shared_ptr<const Region>> create(GuestAddress start, std::uint64_t size, DomainPages pages);

  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  [[nodiscard]] RegionKind kind() const noexcept { return kind_; }
  [[nodiscard]] const GuestRange& range() const noexcept { return range_; }
  /// Null where pages are mapped on demand.
  [[nodiscard]] std::byte* host() const noexcept { return host_; }
  [[nodiscard]] Access access() const noexcept { return access_; }
  /// get_user_pages works on it: O_DIRECT and registered buffers may point into it.
  [[nodiscard]] bool can_pin() const noexcept { return can_pin_; }
  /// A descriptor that another process can map; -1 where there is none.
  [[nodiscard]] int shared_fd() const noexcept { return shared_fd_; }
  [[nodiscard]] std::uint64_t shared_offset() const noexcept { return shared_offset_; }
  /// Null where nothing is tracked.
  [[nodiscard]] DirtyBitmap* dirty() const noexcept { return dirty_.get(); }
  /// Null where somebody else owns the memory.
  [[nodiscard]] const Mapping* mapping() const noexcept { return mapping_ ? &*mapping_ : nullptr; }
  /// Null unless pages are mapped on demand. For GuestMemory.
  [[nodiscard]] WindowCache* windows() const noexcept { return windows_.get(); }

 private:
  Region();

  GuestRange range_;
  std::byte* host_ = nullptr;
  Access access_ = Access::read_write;
  RegionKind kind_ = RegionKind::host;
  bool can_pin_ = true;
  int shared_fd_ = -1;
  std::uint64_t shared_offset_ = 0;
  std::optional<Mapping> mapping_;
  std::unique_ptr<DirtyBitmap> dirty_;
  std::shared_ptr<PageMapper> mapper_;  // with pages_: mapped at once
  MappedPages pages_;
  std::unique_ptr<WindowCache> windows_;
};

}  // namespace trivet::memory
