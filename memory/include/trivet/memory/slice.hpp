// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include <trivet/core/bytes.hpp>
#include <trivet/memory/access.hpp>
#include <trivet/memory/permission.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/memory/window_guard.hpp>

namespace trivet::memory {

/// A run of guest bytes inside one region, checked once, accessed by copying: nothing hands out a reference to what the
/// guest can change. Also the access guard: in the xen build it keeps mapped what is mapped on demand, so let go
/// of it (assign Slice()) when done. Valid while the GuestMemory it came from lives. Thread rule: any thread.
class Slice {
 public:
  Slice() = default;

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

  /// Host address, for readv, writev and io_uring. After such a write call `mark_written`.
  [[nodiscard]] std::byte* host() const noexcept { return host_; }

  /// Copies out; `offset + out.size()` must be <= size() (asserted in debug builds).
  void read(std::uint64_t offset, Bytes out) const noexcept;
  /// Copies in and marks the pages.
  void write(std::uint64_t offset, ConstBytes in) const noexcept;
  void fill(std::uint64_t offset, std::uint64_t bytes, std::byte value) const noexcept;
  /// For what was written through `host`.
  void mark_written(std::uint64_t offset, std::uint64_t bytes) const noexcept;

  /// The part from `offset`, `bytes` long; must lie inside.
  [[nodiscard]] Slice part(std::uint64_t offset, std::uint64_t bytes) const noexcept;

 private:
  friend class GuestMemory;
  Slice(std::byte* host, std::uint64_t size, const Region* region, WindowGuard guard = {}) noexcept
      : host_(host), size_(size), region_(region), guard_(std::move(guard)) {}

  std::byte* host_ = nullptr;
  std::uint64_t size_ = 0;
  const Region* region_ = nullptr;
  [[no_unique_address]] WindowGuard guard_;
};
static_assert(maps_on_demand || (std::is_trivially_copyable_v<Slice> && sizeof(Slice) == 24));

/// Lets go of what the slices keep mapped; nothing to do in the mmap build.
inline void forget([[maybe_unused]] std::span<Slice> slices) noexcept {
  if constexpr (maps_on_demand) {
    for (Slice& slice : slices) slice = Slice();
  }
}

inline void Slice::read(std::uint64_t offset, Bytes out) const noexcept {
  assert(offset <= size_ && out.size() <= size_ - offset);
  copy_out(out.data(), host_ + offset, out.size());
}

inline void Slice::write(std::uint64_t offset, ConstBytes in) const noexcept {
  assert(offset <= size_ && in.size() <= size_ - offset);
  copy_in(host_ + offset, in.data(), in.size());
  mark_written(offset, in.size());
}

inline void Slice::fill(std::uint64_t offset, std::uint64_t bytes, std::byte value) const noexcept {
  assert(offset <= size_ && bytes <= size_ - offset);
  if (bytes != 0) std::memset(host_ + offset, std::to_integer<int>(value), bytes);
  mark_written(offset, bytes);
}

inline void Slice::mark_written(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  if (region_ == nullptr || region_->dirty() == nullptr) return;
  region_->dirty()->mark(static_cast<std::uint64_t>(host_ - region_->host()) + offset, bytes);
}

inline Slice Slice::part(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  assert(offset <= size_ && bytes <= size_ - offset);
  return {host_ + offset, bytes, region_, guard_};
}

}  // namespace trivet::memory
