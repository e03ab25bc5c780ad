// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <trivet/memory/access.hpp>
#include <trivet/memory/dirty_bitmap.hpp>
#include <trivet/virtio/abi/packed_ring.hpp>
#include <trivet/virtio/abi/split_ring.hpp>

namespace trivet::virtio::detail {

/// The host addresses of a packed ring that was checked, and the accesses to it with their order. A place is an offset
/// with the wrap counter in bit 15 (abi::packed_wrap); whoever owns the places keeps them inside the ring.
struct PackedRing {
  /// A part that the device writes, and where that shows.
  struct Tracked {
    memory::DirtyBitmap* dirty = nullptr;  // of the region where the part lies
    std::uint64_t offset = 0;              // there

    void mark(std::size_t at, std::size_t bytes) const noexcept {
      if (dirty != nullptr) dirty->mark(offset + at, bytes);
    }
  };
  /// What follows the address in a descriptor, in one word.
  struct Rest {
    std::uint64_t word;
    [[nodiscard]] std::uint32_t length() const noexcept { return static_cast<std::uint32_t>(word); }
    [[nodiscard]] std::uint16_t id() const noexcept { return static_cast<std::uint16_t>(word >> 32); }
    [[nodiscard]] std::uint16_t flags() const noexcept { return static_cast<std::uint16_t>(word >> 48); }
  };

  std::byte* descriptors = nullptr;
  const std::byte* driver = nullptr;  // the driver's event suppression structure
  std::byte* device = nullptr;        // the device's
  Tracked descriptors_dirty;
  Tracked device_dirty;
  std::uint16_t size = 0;

  static constexpr std::uint16_t both = abi::packed_desc_f_avail | abi::packed_desc_f_used;

  [[nodiscard]] static std::size_t offset_of(std::uint16_t place) noexcept {
    return std::size_t{16} * (place & 0x7fffU);
  }
  /// Acquire: what is available is complete, the rest of its chain too.
  [[nodiscard]] bool is_available(std::uint16_t place) const noexcept {
    const auto flags = memory::load_at<std::uint16_t>(descriptors + offset_of(place) + 14, std::memory_order_acquire);
    return (flags & both) == ((place & abi::packed_wrap) != 0 ? abi::packed_desc_f_avail : abi::packed_desc_f_used);
  }
  [[nodiscard]] std::uint64_t address(std::uint16_t place) const noexcept {
    return memory::load_at<std::uint64_t>(descriptors + offset_of(place));
  }
  [[nodiscard]] Rest rest(std::uint16_t place) const noexcept {
    return {memory::load_at<std::uint64_t>(descriptors + offset_of(place) + 8)};
  }
  /// The driver's wish: flags in the upper half, offset and wrap counter in the lower, read at once.
  [[nodiscard]] std::uint32_t driver_event() const noexcept { return memory::load_at<std::uint32_t>(driver); }

  [[nodiscard]] static std::uint16_t used_flags(std::uint16_t place, std::uint32_t written) noexcept {
    const unsigned flags = (place & abi::packed_wrap) != 0 ? both : 0;
    return static_cast<std::uint16_t>(flags | (written != 0 ? abi::desc_f_write : 0));  // 2.8.4: else no length
  }
  /// All of a used descriptor but what makes it visible.
  void set_used(std::uint16_t place, std::uint16_t id, std::uint32_t written) const noexcept {
    std::byte* at = descriptors + offset_of(place);
    memory::store_at<std::uint32_t>(at + 8, written);
    memory::store_at<std::uint16_t>(at + 12, id);
  }
  /// Release: the descriptor, and what was written before it, are complete.
  void set_flags(std::uint16_t place, std::uint16_t flags) const noexcept {
    memory::store_at<std::uint16_t>(descriptors + offset_of(place) + 14, flags, std::memory_order_release);
  }
  /// `count` descriptors from `place` were passed.
  void mark_used(std::uint16_t place, std::uint32_t count) const noexcept {
    if (descriptors_dirty.dirty == nullptr) return;
    const std::uint32_t first = place & 0x7fffU;
    const std::uint32_t before_end = std::min<std::uint32_t>(count, size - first);
    descriptors_dirty.mark(std::size_t{16} * first, std::size_t{16} * before_end);
    if (before_end != count) descriptors_dirty.mark(0, std::size_t{16} * (count - before_end));
  }
  /// The device's wish, in one store.
  void set_device_event(std::uint16_t place, std::uint16_t flags) const noexcept {
    memory::store_at<std::uint32_t>(device, place | std::uint32_t{flags} << 16);
    device_dirty.mark(0, sizeof(abi::PvirtqEventSuppress));
  }
};

}  // namespace trivet::virtio::detail
