// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>

#include <trivet/virtio/abi/endian.hpp>
#include <trivet/virtio/abi/features.hpp>

/// The split virtqueue as it lies in guest memory (virtio 1.2, 2.7). Numbers are little-endian.
namespace trivet::virtio::abi {

/// 2.7: the Queue Size is a power of two and at most this.
inline constexpr std::uint32_t max_queue_size = 32768;

/// 2.7.5 struct virtq_desc
struct VirtqDesc {
  le64 addr;
  le32 len;
  le16 flags;
  le16 next;
};
static_assert(sizeof(VirtqDesc) == 16 && alignof(VirtqDesc) == 8);
static_assert(offsetof(VirtqDesc, addr) == 0 && offsetof(VirtqDesc, len) == 8);
static_assert(offsetof(VirtqDesc, flags) == 12 && offsetof(VirtqDesc, next) == 14);

inline constexpr std::uint16_t desc_f_next = 1;      ///< VIRTQ_DESC_F_NEXT
inline constexpr std::uint16_t desc_f_write = 2;     ///< VIRTQ_DESC_F_WRITE: device-writable
inline constexpr std::uint16_t desc_f_indirect = 4;  ///< VIRTQ_DESC_F_INDIRECT

/// 2.7.6 struct virtq_avail: flags, idx, ring[size] of le16, used_event after them.
struct VirtqAvailHeader {
  le16 flags;
  le16 idx;
};
static_assert(sizeof(VirtqAvailHeader) == 4 && offsetof(VirtqAvailHeader, idx) == 2);

inline constexpr std::uint16_t avail_f_no_interrupt = 1;  ///< VIRTQ_AVAIL_F_NO_INTERRUPT

/// 2.7.8 struct virtq_used_elem
struct VirtqUsedElem {
  le32 id;
  le32 len;
};
static_assert(sizeof(VirtqUsedElem) == 8 && offsetof(VirtqUsedElem, len) == 4);

/// 2.7.8 struct virtq_used: flags, idx, ring[size] of virtq_used_elem, avail_event after them.
struct VirtqUsedHeader {
  le16 flags;
  le16 idx;
};
static_assert(sizeof(VirtqUsedHeader) == 4 && offsetof(VirtqUsedHeader, idx) == 2);

inline constexpr std::uint16_t used_f_no_notify = 1;  ///< VIRTQ_USED_F_NO_NOTIFY

/// 2.7: alignment of each part, in bytes.
inline constexpr std::uint64_t descriptor_alignment = 16;
inline constexpr std::uint64_t avail_alignment = 2;
inline constexpr std::uint64_t used_alignment = 4;

/// 2.7: size of each part, in bytes; the event field at the end counts always.
[[nodiscard]] constexpr std::uint64_t descriptor_bytes(std::uint32_t queue_size) noexcept {
  return std::uint64_t{16} * queue_size;
}
[[nodiscard]] constexpr std::uint64_t avail_bytes(std::uint32_t queue_size) noexcept {
  return 6 + std::uint64_t{2} * queue_size;
}
[[nodiscard]] constexpr std::uint64_t used_bytes(std::uint32_t queue_size) noexcept {
  return 6 + std::uint64_t{8} * queue_size;
}

/// 2.7.7.2, 2.7.10.2 vring_need_event: whether a step of an index from `old_index` to `new_index` passes `event`.
/// Modulo 2^16.
[[nodiscard]] constexpr bool need_event(std::uint16_t event, std::uint16_t new_index,
                                        std::uint16_t old_index) noexcept {
  return static_cast<std::uint16_t>(new_index - event - 1) < static_cast<std::uint16_t>(new_index - old_index);
}

}  // namespace trivet::virtio::abi
