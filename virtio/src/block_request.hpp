// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <sys/uio.h>
#include <vector>

#include <trivet/core/result.hpp>
#include <trivet/memory/slice.hpp>
#include <trivet/virtio/abi/block.hpp>
#include <trivet/virtio/block_backend.hpp>
#include <trivet/virtio/buffers.hpp>
#include <trivet/virtio/chain.hpp>

namespace trivet::virtio {

class BlockQueue;

/// The parts that every request has, however its buffers are cut (virtio 1.2, 5.2.6).
/// The reader stands behind the header, the writer ends before the status byte.
struct BlockParts : Buffers {
  using Buffers::Buffers;

  std::uint32_t type = 0;
  std::uint64_t sector = 0;
  memory::Slice status;
  bool has_gap = false;  ///< there are bytes before the status byte

  /// `malformed` (guest) without header or status byte, and whatever Reader and Writer find.
  static Result<BlockParts> parse(const Chain& chain) noexcept;
};

/// A range of bytes to discard, zero or erase.
struct BlockByteRange {
  std::uint64_t offset;
  std::uint64_t bytes;
};

/// The most ranges that one DISCARD, WRITE_ZEROES or SECURE_ERASE may hold.
inline constexpr std::size_t block_max_ranges = 16;

/// The most sectors in one range: a discard is one system call, zeroes may have to be written.
inline constexpr std::uint32_t block_max_discard_sectors = 1U << 22;
inline constexpr std::uint32_t block_max_write_zeroes_sectors = 1U << 15;

/// The bytes that a request moves, in host memory.
struct BlockBuffers {
  std::span<memory::Slice> slices;
  std::span<iovec> vectors;
};

/// A request with the disk. Derived, so that a completed operation leads back to it.
struct BlockRequest : DiskOperation {
  static constexpr std::size_t few = 8;

  BlockQueue* queue = nullptr;
  std::uint16_t slot = 0;
  std::uint16_t chain = 0;
  bool has_gap = false;   ///< writable bytes come before the status byte
  bool flushing = false;  ///< write-through: the write itself is done
  std::uint8_t next_range = 0;
  std::uint8_t ranges = 0;
  std::uint16_t slices = 0;    ///< of `few`, or of the big buffers
  int big = -1;                ///< which big buffers it has
  std::uint32_t readable = 0;  ///< IN: bytes that the driver gets when all goes well
  memory::Slice status;
  std::array<memory::Slice, few> few_slices;
  std::array<iovec, few> few_vectors;
};

/// Buffers for the requests that have more than a few, of which only some are with the disk at a time.
class BlockBigBuffers {
 public:
  /// Room for `slices` each; memory is touched as it is used.
  explicit BlockBigBuffers(std::size_t slices);

  /// -1 when all are taken.
  [[nodiscard]] int take() noexcept;
  void give_back(int which) noexcept;
  [[nodiscard]] BlockBuffers buffers(int which) noexcept;

 private:
  static constexpr std::size_t count = 8;
  std::size_t slices_;
  std::vector<std::vector<memory::Slice>> slice_sets_;
  std::vector<std::vector<iovec>> vector_sets_;
  std::array<bool, count> taken_{};
};

}  // namespace trivet::virtio
