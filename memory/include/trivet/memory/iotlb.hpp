// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/permission.hpp>

namespace trivet::memory {

/// An I/O virtual address (IOVA), in bytes: what a device behind an IOMMU is given for memory.
struct IoVirtualAddress {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(IoVirtualAddress, IoVirtualAddress) noexcept = default;
};

/// What a device may do with memory that an IOMMU maps.
struct IoPermission {
  bool read = false;
  bool write = false;

  [[nodiscard]] constexpr bool allows(Permission wanted) const noexcept {
    return wanted == Permission::write ? write : read;
  }
  friend constexpr bool operator==(IoPermission, IoPermission) noexcept = default;
};

/// One translation: `size` bytes from `start` are the guest's memory from `target` on.
struct IoMapping {
  IoVirtualAddress start;
  std::uint64_t size = 0;
  GuestAddress target;
  IoPermission permission;

  [[nodiscard]] constexpr bool contains(IoVirtualAddress at) const noexcept { return at.value - start.value < size; }
  /// `at` must lie inside.
  [[nodiscard]] constexpr GuestAddress translate(IoVirtualAddress at) const noexcept {
    return {target.value + (at.value - start.value)};
  }
  friend constexpr bool operator==(const IoMapping&, const IoMapping&) noexcept = default;
};

/// The translations of an IOMMU that are known here; what is not in it must be asked for. At most `capacity` of them:
/// a new one then takes the place of another. Thread rule: one thread at a time.
class Iotlb {
 public:
  static constexpr std::size_t default_capacity = 2048;  // vhost's own limit

  /// A capacity of 0 is 1.
  explicit Iotlb(std::size_t capacity = default_capacity) : capacity_(capacity == 0 ? 1 : capacity) {}

  /// What it covers of older ones is theirs no longer. `invalid_argument` (guest): empty, or it wraps on either side.
  Result<void> insert(const IoMapping& mapping);

  /// Forgets `size` bytes from `start`, also out of the middle of a translation; what would wrap ends with the address
  /// space.
  void invalidate(IoVirtualAddress start, std::uint64_t size);

  void clear() noexcept { mappings_.clear(); }

  /// The translation that holds `at`, or null. Valid until the next change.
  [[nodiscard]] const IoMapping* find(IoVirtualAddress at) const noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return mappings_.size(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 private:
  void add(const IoMapping& mapping);

  std::map<std::uint64_t, IoMapping> mappings_;  // by start; they do not overlap
  std::size_t capacity_;
  std::uint64_t hand_ = 0;  // from here on the next is looked for that gives up its place
};

}  // namespace trivet::memory
