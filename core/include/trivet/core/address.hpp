// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>

namespace trivet {

/// A guest physical address (GPA), in bytes. Arithmetic is checked: what would wrap gives nothing.
struct GuestAddress {
  std::uint64_t value = 0;

  [[nodiscard]] constexpr std::optional<GuestAddress> plus(std::uint64_t bytes) const noexcept {
    if (bytes > std::numeric_limits<std::uint64_t>::max() - value) return std::nullopt;
    return GuestAddress{value + bytes};
  }

  /// Bytes from `base` up to here; nothing if this lies below it.
  [[nodiscard]] constexpr std::optional<std::uint64_t> offset_from(GuestAddress base) const noexcept {
    if (value < base.value) return std::nullopt;
    return value - base.value;
  }

  /// `alignment` must be a power of two.
  [[nodiscard]] constexpr bool is_aligned(std::uint64_t alignment) const noexcept {
    return (value & (alignment - 1)) == 0;
  }

  friend constexpr auto operator<=>(GuestAddress, GuestAddress) noexcept = default;
};

/// A guest virtual address (GVA), in bytes.
struct GuestVirtualAddress {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(GuestVirtualAddress, GuestVirtualAddress) noexcept = default;
};

/// `size` bytes from `start`. A range made by `create` never wraps and its `last` is a valid address.
struct GuestRange {
  GuestAddress start;
  std::uint64_t size = 0;

  /// Nothing if empty or wrapping.
  [[nodiscard]] static constexpr std::optional<GuestRange> create(GuestAddress start, std::uint64_t size) noexcept {
    if (size == 0 || size - 1 > std::numeric_limits<std::uint64_t>::max() - start.value) return std::nullopt;
    return GuestRange{start, size};
  }

  [[nodiscard]] constexpr bool valid() const noexcept { return create(start, size).has_value(); }
  [[nodiscard]] constexpr GuestAddress last() const noexcept { return {start.value + (size - 1)}; }

  [[nodiscard]] constexpr bool contains(GuestAddress at) const noexcept {
    return at.value >= start.value && at.value - start.value < size;
  }
  [[nodiscard]] constexpr bool contains(GuestAddress at, std::uint64_t bytes) const noexcept {
    return at.value >= start.value && at.value - start.value <= size && bytes <= size - (at.value - start.value);
  }
  [[nodiscard]] constexpr bool overlaps(const GuestRange& other) const noexcept {
    return size != 0 && other.size != 0 && start.value <= other.last().value && other.start.value <= last().value;
  }

  friend constexpr bool operator==(const GuestRange&, const GuestRange&) noexcept = default;
};

}  // namespace trivet
