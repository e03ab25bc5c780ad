// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>

#include <trivet/virtio/abi/endian.hpp>
#include <trivet/virtio/abi/features.hpp>

namespace trivet::virtio::abi {

// Feature bits. Source: virtio 1.2, 5.2.3.
inline constexpr std::uint64_t block_f_size_max = feature_bit(1);
inline constexpr std::uint64_t block_f_seg_max = feature_bit(2);
inline constexpr std::uint64_t block_f_geometry = feature_bit(4);
inline constexpr std::uint64_t block_f_ro = feature_bit(5);
inline constexpr std::uint64_t block_f_blk_size = feature_bit(6);
inline constexpr std::uint64_t block_f_flush = feature_bit(9);
inline constexpr std::uint64_t block_f_topology = feature_bit(10);
inline constexpr std::uint64_t block_f_config_wce = feature_bit(11);
inline constexpr std::uint64_t block_f_mq = feature_bit(12);
inline constexpr std::uint64_t block_f_discard = feature_bit(13);
inline constexpr std::uint64_t block_f_write_zeroes = feature_bit(14);
inline constexpr std::uint64_t block_f_lifetime = feature_bit(15);
inline constexpr std::uint64_t block_f_secure_erase = feature_bit(16);

/// The configuration space. Source: virtio 1.2, 5.2.4.
struct BlockConfig {
  le64 capacity;  ///< in 512-byte sectors
  le32 size_max;
  le32 seg_max;
  /// VIRTIO_BLK_F_GEOMETRY. Source: virtio 1.2, 5.2.4.
  struct Geometry {
    le16 cylinders;
    u8 heads;
    u8 sectors;
  } geometry;
  le32 blk_size;  ///< in bytes
  /// VIRTIO_BLK_F_TOPOLOGY. Source: virtio 1.2, 5.2.4.
  struct Topology {
    u8 physical_block_exp;  ///< logical blocks in a physical one, log2
    u8 alignment_offset;
    le16 min_io_size;  ///< in logical blocks
    le32 opt_io_size;  ///< in logical blocks
  } topology;
  u8 writeback;
  u8 unused0;
  le16 num_queues;
  le32 max_discard_sectors;
  le32 max_discard_seg;
  le32 discard_sector_alignment;
  le32 max_write_zeroes_sectors;
  le32 max_write_zeroes_seg;
  u8 write_zeroes_may_unmap;
  u8 unused1[3];
  le32 max_secure_erase_sectors;
  le32 max_secure_erase_seg;
  le32 secure_erase_sector_alignment;
};
static_assert(sizeof(BlockConfig) == 72);
static_assert(offsetof(BlockConfig, capacity) == 0);
static_assert(offsetof(BlockConfig, size_max) == 8);
static_assert(offsetof(BlockConfig, seg_max) == 12);
static_assert(offsetof(BlockConfig, geometry) == 16);
static_assert(offsetof(BlockConfig, blk_size) == 20);
static_assert(offsetof(BlockConfig, topology) == 24);
static_assert(offsetof(BlockConfig, writeback) == 32);
static_assert(offsetof(BlockConfig, num_queues) == 34);
static_assert(offsetof(BlockConfig, max_discard_sectors) == 36);
static_assert(offsetof(BlockConfig, max_discard_seg) == 40);
static_assert(offsetof(BlockConfig, discard_sector_alignment) == 44);
static_assert(offsetof(BlockConfig, max_write_zeroes_sectors) == 48);
static_assert(offsetof(BlockConfig, max_write_zeroes_seg) == 52);
static_assert(offsetof(BlockConfig, write_zeroes_may_unmap) == 56);
static_assert(offsetof(BlockConfig, max_secure_erase_sectors) == 60);
static_assert(offsetof(BlockConfig, max_secure_erase_seg) == 64);
static_assert(offsetof(BlockConfig, secure_erase_sector_alignment) == 68);

// Request types. Source: virtio 1.2, 5.2.6.
inline constexpr std::uint32_t block_t_in = 0;
inline constexpr std::uint32_t block_t_out = 1;
inline constexpr std::uint32_t block_t_flush = 4;
inline constexpr std::uint32_t block_t_get_id = 8;
inline constexpr std::uint32_t block_t_get_lifetime = 10;
inline constexpr std::uint32_t block_t_discard = 11;
inline constexpr std::uint32_t block_t_write_zeroes = 13;
inline constexpr std::uint32_t block_t_secure_erase = 14;

/// What each request starts with. Source: virtio 1.2, 5.2.6.
struct BlockRequestHeader {
  le32 type;
  le32 reserved;
  le64 sector;  ///< in 512-byte sectors
};
static_assert(sizeof(BlockRequestHeader) == 16);
static_assert(offsetof(BlockRequestHeader, type) == 0);
static_assert(offsetof(BlockRequestHeader, reserved) == 4);
static_assert(offsetof(BlockRequestHeader, sector) == 8);

/// One range of a DISCARD, WRITE_ZEROES or SECURE_ERASE request. Source: virtio 1.2, 5.2.6.
struct BlockRange {
  le64 sector;
  le32 num_sectors;
  le32 flags;
};
static_assert(sizeof(BlockRange) == 16);
static_assert(offsetof(BlockRange, sector) == 0);
static_assert(offsetof(BlockRange, num_sectors) == 8);
static_assert(offsetof(BlockRange, flags) == 12);
inline constexpr std::uint32_t block_range_unmap = 1;

/// What GET_LIFETIME gives. Source: virtio 1.2, 5.2.6.
struct BlockLifetime {
  le16 pre_eol_info;               ///< 0: not defined; 1: normal; 2: warning; 3: urgent
  le16 device_lifetime_est_typ_a;  ///< 0: not defined; n: up to n tenths are worn; 11: beyond its end
  le16 device_lifetime_est_typ_b;
};
static_assert(sizeof(BlockLifetime) == 6);
static_assert(offsetof(BlockLifetime, pre_eol_info) == 0);
static_assert(offsetof(BlockLifetime, device_lifetime_est_typ_a) == 2);
static_assert(offsetof(BlockLifetime, device_lifetime_est_typ_b) == 4);

// The status byte, the request's last. Source: virtio 1.2, 5.2.6.
inline constexpr u8 block_s_ok = 0;
inline constexpr u8 block_s_ioerr = 1;
inline constexpr u8 block_s_unsupp = 2;

inline constexpr std::uint32_t block_sector_size = 512;
/// Bytes that GET_ID gives; shorter ids end in a zero. Source: virtio 1.2, 5.2.6.
inline constexpr std::size_t block_id_size = 20;

}  // namespace trivet::virtio::abi
