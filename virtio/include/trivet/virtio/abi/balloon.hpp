// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>

#include <trivet/virtio/abi/endian.hpp>
#include <trivet/virtio/abi/features.hpp>

namespace trivet::virtio::abi {

// Feature bits. Source: virtio 1.3, 5.5.3.
inline constexpr std::uint64_t balloon_f_must_tell_host = feature_bit(0);
inline constexpr std::uint64_t balloon_f_stats_vq = feature_bit(1);
inline constexpr std::uint64_t balloon_f_deflate_on_oom = feature_bit(2);
inline constexpr std::uint64_t balloon_f_free_page_hint = feature_bit(3);
inline constexpr std::uint64_t balloon_f_page_poison = feature_bit(4);
inline constexpr std::uint64_t balloon_f_page_reporting = feature_bit(5);

// Queues. Source: virtio 1.3, 5.5.2.
inline constexpr unsigned balloon_inflate_queue = 0;
inline constexpr unsigned balloon_deflate_queue = 1;
inline constexpr unsigned balloon_stats_queue = 2;
inline constexpr unsigned balloon_hint_queue = 3;
inline constexpr unsigned balloon_report_queue = 4;

/// The configuration space. Source: virtio 1.3, 5.5.4.
struct BalloonConfig {
  le32 num_pages;  ///< what the device wants, in 4 KiB
  le32 actual;     ///< what the driver has given, in 4 KiB
  le32 free_page_hint_cmd_id;
  le32 poison_val;
};
static_assert(sizeof(BalloonConfig) == 16);
static_assert(offsetof(BalloonConfig, num_pages) == 0);
static_assert(offsetof(BalloonConfig, actual) == 4);
static_assert(offsetof(BalloonConfig, free_page_hint_cmd_id) == 8);
static_assert(offsetof(BalloonConfig, poison_val) == 12);

/// Page numbers are in this unit, whatever the guest's pages are. Source: virtio 1.3, 5.5.
inline constexpr std::uint64_t balloon_page_size = 4096;

// Commands of free page hinting; from 2 on they number the runs. Source: virtio 1.3, 5.5.6.6.
inline constexpr std::uint32_t balloon_hint_stop = 0;
inline constexpr std::uint32_t balloon_hint_done = 1;
inline constexpr std::uint32_t balloon_hint_first = 2;

/// One statistic; 10 bytes, so that its value is unaligned. Source: virtio 1.3, 5.5.6.3.
struct BalloonStat {
  boost::endian::little_uint16_buf_t tag;
  boost::endian::little_uint64_buf_t val;
};
static_assert(sizeof(BalloonStat) == 10);
static_assert(offsetof(BalloonStat, tag) == 0);
static_assert(offsetof(BalloonStat, val) == 2);

// Tags. Source: virtio 1.3, 5.5.6.4; from oom_kill on as Linux 6.12's include/uapi/linux/virtio_balloon.h has them.
inline constexpr std::uint16_t balloon_s_swap_in = 0;
inline constexpr std::uint16_t balloon_s_swap_out = 1;
inline constexpr std::uint16_t balloon_s_major_faults = 2;
inline constexpr std::uint16_t balloon_s_minor_faults = 3;
inline constexpr std::uint16_t balloon_s_free_memory = 4;
inline constexpr std::uint16_t balloon_s_total_memory = 5;
inline constexpr std::uint16_t balloon_s_available = 6;
inline constexpr std::uint16_t balloon_s_caches = 7;
inline constexpr std::uint16_t balloon_s_hugetlb_allocations = 8;
inline constexpr std::uint16_t balloon_s_hugetlb_failures = 9;
inline constexpr std::uint16_t balloon_s_oom_kills = 10;
inline constexpr std::uint16_t balloon_s_allocation_stalls = 11;
inline constexpr std::uint16_t balloon_s_async_scans = 12;
inline constexpr std::uint16_t balloon_s_direct_scans = 13;
inline constexpr std::uint16_t balloon_s_async_reclaims = 14;
inline constexpr std::uint16_t balloon_s_direct_reclaims = 15;

}  // namespace trivet::virtio::abi
