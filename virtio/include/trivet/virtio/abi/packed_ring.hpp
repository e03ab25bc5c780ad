// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>

#include <trivet/virtio/abi/endian.hpp>
#include <trivet/virtio/abi/features.hpp>

/// The packed virtqueue as it lies in guest memory (virtio 1.2, 2.8). Numbers are little-endian. Its size is at most
/// `max_queue_size` and need not be a power of two; NEXT, WRITE and INDIRECT are those of the split ring.
namespace trivet::virtio::abi {

/// 2.8.13 struct pvirtq_desc: one of the descriptor ring, and of an indirect table.
struct PvirtqDesc {
  le64 addr;
  le32 len;
  le16 id;
  le16 flags;
};
static_assert(sizeof(PvirtqDesc) == 16 && alignof(PvirtqDesc) == 8);
static_assert(offsetof(PvirtqDesc, addr) == 0 && offsetof(PvirtqDesc, len) == 8);
static_assert(offsetof(PvirtqDesc, id) == 12 && offsetof(PvirtqDesc, flags) == 14);

inline constexpr std::uint16_t packed_desc_f_avail = 1 << 7;  ///< VIRTQ_DESC_F_AVAIL
inline constexpr std::uint16_t packed_desc_f_used = 1 << 15;  ///< VIRTQ_DESC_F_USED

/// 2.8.14 struct pvirtq_event_suppress: the driver area and the device area.
struct PvirtqEventSuppress {
  le16 desc;  ///< offset, and the wrap counter in bit 15
  le16 flags;
};
static_assert(sizeof(PvirtqEventSuppress) == 4);
static_assert(offsetof(PvirtqEventSuppress, desc) == 0 && offsetof(PvirtqEventSuppress, flags) == 2);

// 2.8.10: what flags say, in their low two bits.
inline constexpr std::uint16_t ring_event_flags_enable = 0;   ///< RING_EVENT_FLAGS_ENABLE
inline constexpr std::uint16_t ring_event_flags_disable = 1;  ///< RING_EVENT_FLAGS_DISABLE
inline constexpr std::uint16_t ring_event_flags_desc = 2;     ///< RING_EVENT_FLAGS_DESC: only with EVENT_IDX
inline constexpr std::uint16_t ring_event_flags_mask = 3;

/// 2.8.10.1: alignment of each part, in bytes; the descriptor ring's is the split ring's.
inline constexpr std::uint64_t event_suppress_alignment = 4;

/// A place in a packed ring as the event suppression structures and notifications have it (2.8.14, 2.9): the offset in
/// descriptors in the low 15 bits, the wrap counter in bit 15.
inline constexpr std::uint16_t packed_wrap = 1 << 15;
/// 2.8.1: where both sides begin.
inline constexpr std::uint16_t packed_start = packed_wrap;

/// The place `count` descriptors after `at` in a ring of `size`, `count` at most `size`.
[[nodiscard]] constexpr std::uint16_t packed_after(std::uint16_t at, std::uint32_t count, std::uint16_t size) noexcept {
  const std::uint32_t offset = (at & ~packed_wrap) + count;
  if (offset < size) return static_cast<std::uint16_t>((at & packed_wrap) | offset);
  return static_cast<std::uint16_t>(((at & packed_wrap) ^ packed_wrap) | (offset - size));
}

/// The place `count` descriptors before `at`.
[[nodiscard]] constexpr std::uint16_t packed_before(std::uint16_t at, std::uint32_t count,
                                                    std::uint16_t size) noexcept {
  const std::uint32_t offset = at & ~packed_wrap;
  if (count <= offset) return static_cast<std::uint16_t>((at & packed_wrap) | (offset - count));
  return static_cast<std::uint16_t>(((at & packed_wrap) ^ packed_wrap) | (offset + size - count));
}

/// How many descriptors `to` lies ahead of `from` in a ring of `size`, whose places repeat after two rounds. Both lie
/// in the ring.
[[nodiscard]] constexpr std::uint32_t packed_distance(std::uint16_t from, std::uint16_t to,
                                                      std::uint16_t size) noexcept {
  const std::uint32_t round = ((from ^ to) & packed_wrap) != 0 ? size : 0;
  const std::uint32_t ahead = (to & ~packed_wrap) + round + 2U * size - (from & ~packed_wrap);
  return ahead < 2U * size ? ahead : ahead - 2U * size;
}

/// Whether a step of `count` descriptors that ended at `end` passed `event`: what need_event is to split rings. An
/// event beyond the ring is taken as passed: an event too many does no harm.
[[nodiscard]] constexpr bool packed_need_event(std::uint16_t event, std::uint16_t end, std::uint64_t count,
                                               std::uint16_t size) noexcept {
  if ((event & ~packed_wrap) >= size) return count != 0;
  // Counted back from the end: the last descriptor passed is 1 behind it.
  const std::uint32_t behind = packed_distance(event, end, size);
  return (behind == 0 ? 2U * size : behind) <= count;
}

}  // namespace trivet::virtio::abi
