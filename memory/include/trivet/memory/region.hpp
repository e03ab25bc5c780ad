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

namespace trivet::memory {

/// One piece of guest memory as this process sees it: a guest range, the host memory behind it, who may write it and,
/// where asked for, which pages this process wrote.
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

  [[nodiscard]] const GuestRange& range() const noexcept { return range_; }
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

 private:
  Region() = default;

  GuestRange range_;
  std::byte* host_ = nullptr;
  Access access_ = Access::read_write;
  bool can_pin_ = true;
  int shared_fd_ = -1;
  std::uint64_t shared_offset_ = 0;
  std::optional<Mapping> mapping_;
  std::unique_ptr<DirtyBitmap> dirty_;
};

}  // namespace trivet::memory
