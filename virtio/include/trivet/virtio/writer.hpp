// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>
#include <trivet/memory/slice.hpp>
#include <trivet/virtio/chain.hpp>
#include <trivet/virtio/cursor.hpp>

namespace trivet::virtio {

/// Writes the device-writable buffers of a chain as one run of bytes, however the driver cut them, and counts.
///
/// Errors blame the guest: `malformed` (a rule of the chain, or less room than asked for), `out_of_range` (a buffer
/// outside memory), `permission` (a buffer in read-only memory). Thread rule: a value; a copy writes on from the same
/// place.
class Writer {
 public:
  /// Walks and checks the whole chain; the chain itself does not move.
  static Result<Writer> create(const Chain& chain) noexcept;

  /// Bytes of room still left.
  [[nodiscard]] std::uint64_t left() const noexcept { return cursor_.left(); }

  /// Bytes written through this writer so far; what `slices` handed out is not among them, for the caller knows what
  /// became of it.
  [[nodiscard]] std::uint32_t written() const noexcept {
    // A chain may hold 2^32 bytes, one more than the used ring can tell.
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(written_, std::numeric_limits<std::uint32_t>::max()));
  }

  Result<void> write(ConstBytes in) noexcept {
    if (!cursor_.write_whole(in)) [[unlikely]]
      return write_in_parts(in);
    count(in.size());
    return {};
  }
  template <memory::Plain T>
  Result<void> write_object(const T& object) noexcept {
    return write(std::as_bytes(std::span(&object, 1)));
  }
  Result<void> fill(std::uint64_t bytes, std::byte value) noexcept;
  /// Leaves the next `bytes` as they are.
  Result<void> skip(std::uint64_t bytes) noexcept;

  /// Splits off a writer for the next `bytes`, which counts for itself; this one goes on after them.
  /// So `take(left() - 1)` leaves a trailing status byte to this one.
  Result<Writer> take(std::uint64_t bytes) noexcept;

  /// Splits off the last `bytes` of the chain, as one run, for a status that follows data; this writer ends before
  /// them. `malformed` (guest) when they lie in several runs. Once they are written, call `Slice::mark_written`.
  Result<memory::Slice> take_last(std::uint32_t bytes) noexcept;

  /// The next `bytes` as runs of host memory, for readv and io_uring; goes on after them. How many runs. `limit`
  /// (caller) when `out` is too short, and then nothing moves. Once the bytes are there, call `Slice::mark_written`.
  Result<std::size_t> slices(std::uint64_t bytes, std::span<memory::Slice> out) noexcept;

 private:
  friend struct Buffers;
  Writer() noexcept {}  // NOLINT(modernize-use-equals-default): nowhere yet, and nothing is written
  explicit Writer(const Cursor& cursor) noexcept : cursor_(cursor) {}

  Result<void> write_in_parts(ConstBytes in) noexcept;
  void count(std::uint64_t bytes) noexcept { written_ += bytes; }

  Cursor cursor_;
  std::uint64_t written_ = 0;
  // The chain's last buffer, or what is left of it; empty where this writer may end before.
  std::uint64_t last_address_;
  std::uint32_t last_length_ = 0;
};

}  // namespace trivet::virtio
