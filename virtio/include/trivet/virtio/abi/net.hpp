// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>

#include <trivet/virtio/abi/endian.hpp>
#include <trivet/virtio/abi/features.hpp>

namespace trivet::virtio::abi {

// Feature bits. Source: virtio 1.3, 5.1.3. GUEST: what the driver takes; HOST: what the device takes.
inline constexpr std::uint64_t net_f_csum = feature_bit(0);
inline constexpr std::uint64_t net_f_guest_csum = feature_bit(1);
inline constexpr std::uint64_t net_f_ctrl_guest_offloads = feature_bit(2);
inline constexpr std::uint64_t net_f_mtu = feature_bit(3);
inline constexpr std::uint64_t net_f_mac = feature_bit(5);
inline constexpr std::uint64_t net_f_guest_tso4 = feature_bit(7);
inline constexpr std::uint64_t net_f_guest_tso6 = feature_bit(8);
inline constexpr std::uint64_t net_f_guest_ecn = feature_bit(9);
inline constexpr std::uint64_t net_f_host_tso4 = feature_bit(11);
inline constexpr std::uint64_t net_f_host_tso6 = feature_bit(12);
inline constexpr std::uint64_t net_f_host_ecn = feature_bit(13);
inline constexpr std::uint64_t net_f_mrg_rxbuf = feature_bit(15);
inline constexpr std::uint64_t net_f_status = feature_bit(16);
inline constexpr std::uint64_t net_f_ctrl_vq = feature_bit(17);
inline constexpr std::uint64_t net_f_ctrl_rx = feature_bit(18);
inline constexpr std::uint64_t net_f_ctrl_vlan = feature_bit(19);
inline constexpr std::uint64_t net_f_ctrl_rx_extra = feature_bit(20);
inline constexpr std::uint64_t net_f_guest_announce = feature_bit(21);
inline constexpr std::uint64_t net_f_mq = feature_bit(22);
inline constexpr std::uint64_t net_f_ctrl_mac_addr = feature_bit(23);
inline constexpr std::uint64_t net_f_guest_uso4 = feature_bit(54);
inline constexpr std::uint64_t net_f_guest_uso6 = feature_bit(55);
inline constexpr std::uint64_t net_f_host_uso = feature_bit(56);
inline constexpr std::uint64_t net_f_hash_report = feature_bit(57);
inline constexpr std::uint64_t net_f_guest_hdrlen = feature_bit(59);
inline constexpr std::uint64_t net_f_rss = feature_bit(60);
inline constexpr std::uint64_t net_f_speed_duplex = feature_bit(63);

/// What a driver may let come unfinished; CTRL_GUEST_OFFLOADS_SET has the same bits (5.1.6.5.8).
inline constexpr std::uint64_t net_guest_offloads =
    net_f_guest_csum | net_f_guest_tso4 | net_f_guest_tso6 | net_f_guest_ecn | net_f_guest_uso4 | net_f_guest_uso6;
inline constexpr std::uint64_t net_host_offloads =
    net_f_csum | net_f_host_tso4 | net_f_host_tso6 | net_f_host_ecn | net_f_host_uso;

/// The configuration space. Source: virtio 1.3, 5.1.4.
struct NetConfig {
  u8 mac[6];
  le16 status;
  le16 max_virtqueue_pairs;
  le16 mtu;    ///< bytes
  le32 speed;  ///< Mbit/s; all ones: not known
  u8 duplex;   ///< 1: full
  u8 rss_max_key_size;
  le16 rss_max_indirection_table_length;
  le32 supported_hash_types;
};
static_assert(sizeof(NetConfig) == 24);
static_assert(offsetof(NetConfig, mac) == 0);
static_assert(offsetof(NetConfig, status) == 6);
static_assert(offsetof(NetConfig, max_virtqueue_pairs) == 8);
static_assert(offsetof(NetConfig, mtu) == 10);
static_assert(offsetof(NetConfig, speed) == 12);
static_assert(offsetof(NetConfig, duplex) == 16);
static_assert(offsetof(NetConfig, rss_max_key_size) == 17);
static_assert(offsetof(NetConfig, rss_max_indirection_table_length) == 18);
static_assert(offsetof(NetConfig, supported_hash_types) == 20);

inline constexpr std::uint16_t net_s_link_up = 1;
inline constexpr std::uint16_t net_s_announce = 2;
inline constexpr u8 net_full_duplex = 1;

/// What each frame starts with. Source: virtio 1.3, 5.1.6.
struct NetHeader {
  u8 flags;
  u8 gso_type;
  le16 hdr_len;
  le16 gso_size;
  le16 csum_start;
  le16 csum_offset;
  le16 num_buffers;
};
static_assert(sizeof(NetHeader) == 12);
static_assert(offsetof(NetHeader, gso_type) == 1);
static_assert(offsetof(NetHeader, hdr_len) == 2);
static_assert(offsetof(NetHeader, gso_size) == 4);
static_assert(offsetof(NetHeader, csum_start) == 6);
static_assert(offsetof(NetHeader, csum_offset) == 8);
static_assert(offsetof(NetHeader, num_buffers) == 10);

/// With VIRTIO_NET_F_HASH_REPORT, in both directions. Source: virtio 1.3, 5.1.6.
struct NetHashHeader {
  NetHeader header;
  le32 hash_value;
  le16 hash_report;
  le16 padding_reserved;
};
static_assert(sizeof(NetHashHeader) == 20);
static_assert(offsetof(NetHashHeader, hash_value) == 12);
static_assert(offsetof(NetHashHeader, hash_report) == 16);

// Over what a hash is taken. Source: virtio 1.3, 5.1.6.4.3.1.
inline constexpr std::uint32_t net_hash_ipv4 = 1U << 0;
inline constexpr std::uint32_t net_hash_tcpv4 = 1U << 1;
inline constexpr std::uint32_t net_hash_udpv4 = 1U << 2;
inline constexpr std::uint32_t net_hash_ipv6 = 1U << 3;
inline constexpr std::uint32_t net_hash_tcpv6 = 1U << 4;
inline constexpr std::uint32_t net_hash_udpv6 = 1U << 5;
inline constexpr std::uint32_t net_hash_types =
    net_hash_ipv4 | net_hash_tcpv4 | net_hash_udpv4 | net_hash_ipv6 | net_hash_tcpv6 | net_hash_udpv6;

// Over what it was. Source: virtio 1.3, 5.1.6.4.3.4.
inline constexpr std::uint16_t net_hash_report_none = 0;
inline constexpr std::uint16_t net_hash_report_ipv4 = 1;
inline constexpr std::uint16_t net_hash_report_tcpv4 = 2;
inline constexpr std::uint16_t net_hash_report_udpv4 = 3;
inline constexpr std::uint16_t net_hash_report_ipv6 = 4;
inline constexpr std::uint16_t net_hash_report_tcpv6 = 5;
inline constexpr std::uint16_t net_hash_report_udpv6 = 6;

/// How RSS_CONFIG begins; the table, the number of transmit queues (le16), the key's size (u8) and the key follow.
/// Source: virtio 1.3, 5.1.6.5.7.
struct NetRssConfig {
  le32 hash_types;
  le16 indirection_table_mask;
  le16 unclassified_queue;  ///< a receive queue's index, halved: its pair; so are the table's
};
static_assert(sizeof(NetRssConfig) == 8);
static_assert(offsetof(NetRssConfig, indirection_table_mask) == 4);
static_assert(offsetof(NetRssConfig, unclassified_queue) == 6);

/// How HASH_CONFIG begins; the key's size (u8) and the key follow. Source: virtio 1.3, 5.1.6.5.6.4.
struct NetHashConfig {
  le32 hash_types;
  le16 reserved[4];
};
static_assert(sizeof(NetHashConfig) == 12);
static_assert(offsetof(NetHashConfig, reserved) == 4);

inline constexpr u8 net_hdr_f_needs_csum = 1;
inline constexpr u8 net_hdr_f_data_valid = 2;
inline constexpr u8 net_hdr_gso_none = 0;
inline constexpr u8 net_hdr_gso_tcpv4 = 1;
inline constexpr u8 net_hdr_gso_tcpv6 = 4;
inline constexpr u8 net_hdr_gso_udp_l4 = 5;
inline constexpr u8 net_hdr_gso_ecn = 0x80;  ///< beside one of the TCP types

/// What each control command starts with; its data follow. Source: virtio 1.3, 5.1.6.5.
struct NetControlHeader {
  u8 command_class;
  u8 command;
};
static_assert(sizeof(NetControlHeader) == 2);
static_assert(offsetof(NetControlHeader, command) == 1);

inline constexpr u8 net_ok = 0;
inline constexpr u8 net_err = 1;

// Classes and their commands. Source: virtio 1.3, 5.1.6.5.
inline constexpr u8 net_ctrl_rx = 0;
inline constexpr u8 net_ctrl_rx_promisc = 0;
inline constexpr u8 net_ctrl_rx_allmulti = 1;
inline constexpr u8 net_ctrl_rx_alluni = 2;
inline constexpr u8 net_ctrl_rx_nomulti = 3;
inline constexpr u8 net_ctrl_rx_nouni = 4;
inline constexpr u8 net_ctrl_rx_nobcast = 5;
inline constexpr u8 net_ctrl_mac = 1;
inline constexpr u8 net_ctrl_mac_table_set = 0;
inline constexpr u8 net_ctrl_mac_addr_set = 1;
inline constexpr u8 net_ctrl_vlan = 2;
inline constexpr u8 net_ctrl_vlan_add = 0;
inline constexpr u8 net_ctrl_vlan_del = 1;
inline constexpr u8 net_ctrl_announce = 3;
inline constexpr u8 net_ctrl_announce_ack = 0;
inline constexpr u8 net_ctrl_mq = 4;
inline constexpr u8 net_ctrl_mq_vq_pairs_set = 0;
inline constexpr u8 net_ctrl_mq_rss_config = 1;
inline constexpr u8 net_ctrl_mq_hash_config = 2;
inline constexpr u8 net_ctrl_guest_offloads = 5;
inline constexpr u8 net_ctrl_guest_offloads_set = 0;

}  // namespace trivet::virtio::abi
