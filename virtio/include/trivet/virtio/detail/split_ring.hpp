// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <trivet/memory/access.hpp>
#include <trivet/memory/dirty_bitmap.hpp>
#include <trivet/virtio/abi/split_ring.hpp>

namespace trivet::virtio::detail {

/// The host addresses of a split ring that was checked, and the accesses to it with their order. The queue owns the
/// indices.
struct SplitRing {
  std::byte* heads = nullptr;  // of the available ring, behind its flags and index
  std::byte* used = nullptr;
  memory::DirtyBitmap* dirty = nullptr;  // of the region where the used ring lies
  std::uint64_t used_offset = 0;         // there
  std::size_t mask = 0;                  // size - 1

  static constexpr std::uint64_t page = memory::DirtyBitmap::page_size;

  /// Acquire: the heads and descriptors behind it are complete.
  [[nodiscard]] std::uint16_t available_index() const noexcept {
    return memory::load_at<std::uint16_t>(heads - 2, std::memory_order_acquire);
  }
  [[nodiscard]] std::uint16_t available_head(std::uint16_t index) const noexcept {
    return memory::load_at<std::uint16_t>(heads + 2 * (index & mask));
  }
  [[nodiscard]] std::uint16_t available_flags() const noexcept { return memory::load_at<std::uint16_t>(heads - 4); }
  [[nodiscard]] std::uint16_t used_event() const noexcept {
    return memory::load_at<std::uint16_t>(heads + 2 * (mask + 1));
  }

  void set_used(std::uint16_t index, std::uint16_t id, std::uint32_t written) const noexcept {
    const std::size_t at = 4 + 8 * (index & mask);
    memory::store_at<std::uint32_t>(used + at, id);
    memory::store_at<std::uint32_t>(used + at + 4, written);
  }
  /// Publishes the elements from `first`. Release: they and the buffers before it are complete.
  void set_used_index(std::uint16_t first, std::uint16_t index) const noexcept {
    memory::store_at<std::uint16_t>(used + 2, index, std::memory_order_release);
    if (dirty != nullptr) mark_published(first, index);
  }
  void set_used_flags(std::uint16_t flags) const noexcept {
    memory::store_at<std::uint16_t>(used, flags);
    mark(0, 2);
  }
  void set_available_event(std::uint16_t index) const noexcept {
    const std::size_t at = 4 + 8 * (mask + 1);
    memory::store_at<std::uint16_t>(used + at, index);
    mark(at, 2);
  }

 private:
  void mark_published(std::uint16_t first, std::uint16_t index) const noexcept {
    const auto bytes = [](std::uint16_t count) { return std::size_t{8} * count; };
    const auto begin = static_cast<std::uint16_t>(first & mask);
    const auto count = static_cast<std::uint16_t>(index - first);
    const auto before_wrap = std::min<std::uint16_t>(count, static_cast<std::uint16_t>(mask + 1 - begin));
    const std::uint64_t end = used_offset + 4 + bytes(begin) + bytes(before_wrap);
    if (count == before_wrap && (end - 1) / page == used_offset / page) {  // with the index, all in one page
      dirty->mark(used_offset + 2, 2);
      return;
    }
    mark(0, 4);
    mark(4 + bytes(begin), bytes(before_wrap));
    mark(4, bytes(static_cast<std::uint16_t>(count - before_wrap)));
  }
  void mark(std::size_t at, std::size_t bytes) const noexcept {
    if (dirty != nullptr) dirty->mark(used_offset + at, bytes);
  }
};

}  // namespace trivet::virtio::detail
