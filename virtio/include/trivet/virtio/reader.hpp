// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>
#include <trivet/memory/slice.hpp>
#include <trivet/virtio/chain.hpp>
#include <trivet/virtio/cursor.hpp>

namespace trivet::virtio {

/// Reads the device-readable buffers of a chain as one run of bytes, however the driver cut them.
///
/// Errors blame the guest: `malformed` (a rule of the chain, or fewer bytes left than asked for), `out_of_range` (a
/// buffer outside memory). Thread rule: a value; a copy reads on from the same place.
class Reader {
 public:
  /// Walks and checks the whole chain; the chain itself does not move.
  static Result<Reader> create(const Chain& chain) noexcept;

  /// Bytes still to read.
  [[nodiscard]] std::uint64_t left() const noexcept { return cursor_.left(); }

  Result<void> read(Bytes out) noexcept {
    if (cursor_.read_whole(out)) [[likely]]
      return {};
    return read_in_parts(out);
  }
  template <memory::Plain T>
  Result<T> read_object() noexcept;
  Result<void> skip(std::uint64_t bytes) noexcept;

  /// Splits off a reader of the next `bytes`; this one goes on after them.
  Result<Reader> take(std::uint64_t bytes) noexcept;

  /// The next `bytes` as runs of host memory, for writev and io_uring; goes on after them. How many runs. `limit`
  /// (caller) when `out` is too short, and then nothing moves.
  Result<std::size_t> slices(std::uint64_t bytes, std::span<memory::Slice> out) noexcept;

 private:
  friend struct Buffers;
  Reader() noexcept = default;
  explicit Reader(const Cursor& cursor) noexcept : cursor_(cursor) {}

  Result<void> read_in_parts(Bytes out) noexcept;

  Cursor cursor_;
};

template <memory::Plain T>
Result<T> Reader::read_object() noexcept {
  if (const std::byte* from = cursor_.pass_whole(sizeof(T))) [[likely]]
    return Result<T>(tl::in_place, memory::ObjectAt<T>{from});
  T object{};
  TRIVET_TRY(read_in_parts(std::as_writable_bytes(std::span(&object, 1))));
  return object;
}

}  // namespace trivet::virtio
