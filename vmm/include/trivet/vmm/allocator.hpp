// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <memory>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>

namespace trivet::vmm {

/// Where an address allocator looks.
enum class Fit : std::uint8_t {
  first,  ///< the lowest free place
  last,   ///< the highest free place
};

/// Gives out pieces of one range of addresses (memory windows, ports). Thread rule: one thread at a time.
class AddressAllocator {
 public:
  /// `invalid_argument` when `range` is empty or wraps (caller).
  static Result<AddressAllocator> create(const GuestRange& range);

  /// `size` free bytes at a multiple of `alignment` (a power of two, else `invalid_argument`); `limit` when there is no
  /// such place (caller).
  Result<GuestRange> allocate(std::uint64_t size, std::uint64_t alignment, Fit fit = Fit::first);

  /// Exactly this range. `out_of_range` when it lies outside, `already_exists` when part of it is taken (caller).
  Result<GuestRange> allocate_at(const GuestRange& wanted);

  /// Gives back what `allocate` gave. `not_found` when not all of it was taken (caller).
  Result<void> free(const GuestRange& range);

  AddressAllocator(AddressAllocator&&) noexcept;
  AddressAllocator& operator=(AddressAllocator&&) noexcept;
  ~AddressAllocator();

 private:
  struct Impl;
  explicit AddressAllocator(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Gives out numbers (interrupts, device ids), the lowest free one first. Thread rule: one thread at a time.
class IdAllocator {
 public:
  /// From `first` to `last`, both included. `invalid_argument` when `last` is below `first` (caller).
  static Result<IdAllocator> create(std::uint32_t first, std::uint32_t last);

  /// `limit` when all are taken (caller).
  Result<std::uint32_t> allocate();

  /// `out_of_range`, or `already_exists` when it is taken (caller).
  Result<std::uint32_t> allocate_id(std::uint32_t id);

  /// `not_found` when it was not taken (caller).
  Result<void> free(std::uint32_t id);

  IdAllocator(IdAllocator&&) noexcept;
  IdAllocator& operator=(IdAllocator&&) noexcept;
  ~IdAllocator();

 private:
  struct Impl;
  explicit IdAllocator(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace trivet::vmm
