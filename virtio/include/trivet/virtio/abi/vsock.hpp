// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>

#include <trivet/virtio/abi/endian.hpp>
#include <trivet/virtio/abi/features.hpp>

namespace trivet::virtio::abi {

// Feature bits. Source: virtio 1.3, 5.10.3.
inline constexpr std::uint64_t vsock_f_stream = feature_bit(0);
inline constexpr std::uint64_t vsock_f_seqpacket = feature_bit(1);
inline constexpr std::uint64_t vsock_f_no_implied_stream = feature_bit(2);

// Queues. Source: virtio 1.3, 5.10.2.
inline constexpr unsigned vsock_receive_queue = 0;
inline constexpr unsigned vsock_transmit_queue = 1;
inline constexpr unsigned vsock_event_queue = 2;

/// The configuration space. Source: virtio 1.3, 5.10.4.
struct VsockConfig {
  le64 guest_cid;
};
static_assert(sizeof(VsockConfig) == 8);
static_assert(offsetof(VsockConfig, guest_cid) == 0);

/// What each packet starts with; not a multiple of 8 bytes long, so that its 64-bit fields are unaligned ones. Source:
/// virtio 1.3, 5.10.6.
struct VsockHeader {
  boost::endian::little_uint64_buf_t src_cid;
  boost::endian::little_uint64_buf_t dst_cid;
  le32 src_port;
  le32 dst_port;
  le32 len;  ///< bytes that follow
  le16 type;
  le16 op;
  le32 flags;
  le32 buf_alloc;  ///< the sender's whole buffer, bytes
  le32 fwd_cnt;    ///< bytes that left that buffer, modulo 2^32
};
static_assert(sizeof(VsockHeader) == 44);
static_assert(offsetof(VsockHeader, src_cid) == 0);
static_assert(offsetof(VsockHeader, dst_cid) == 8);
static_assert(offsetof(VsockHeader, src_port) == 16);
static_assert(offsetof(VsockHeader, dst_port) == 20);
static_assert(offsetof(VsockHeader, len) == 24);
static_assert(offsetof(VsockHeader, type) == 28);
static_assert(offsetof(VsockHeader, op) == 30);
static_assert(offsetof(VsockHeader, flags) == 32);
static_assert(offsetof(VsockHeader, buf_alloc) == 36);
static_assert(offsetof(VsockHeader, fwd_cnt) == 40);

// Operations. Source: virtio 1.3, 5.10.6.
inline constexpr std::uint16_t vsock_op_request = 1;
inline constexpr std::uint16_t vsock_op_response = 2;
inline constexpr std::uint16_t vsock_op_rst = 3;
inline constexpr std::uint16_t vsock_op_shutdown = 4;
inline constexpr std::uint16_t vsock_op_rw = 5;
inline constexpr std::uint16_t vsock_op_credit_update = 6;
inline constexpr std::uint16_t vsock_op_credit_request = 7;

// Socket types. Source: virtio 1.3, 5.10.6.
inline constexpr std::uint16_t vsock_type_stream = 1;
inline constexpr std::uint16_t vsock_type_seqpacket = 2;

// Flags of SHUTDOWN: what the sender will not do any more. Source: virtio 1.3, 5.10.6.5.
inline constexpr std::uint32_t vsock_shutdown_receive = 1;
inline constexpr std::uint32_t vsock_shutdown_send = 2;
inline constexpr std::uint32_t vsock_shutdown_both = 3;

// Flags of RW on a SEQPACKET socket. Source: virtio 1.3, 5.10.6.6.
inline constexpr std::uint32_t vsock_seq_end_of_message = 1;
inline constexpr std::uint32_t vsock_seq_end_of_record = 2;

/// What the event queue carries. Source: virtio 1.3, 5.10.6.7.
struct VsockEvent {
  le32 id;
};
static_assert(sizeof(VsockEvent) == 4);
static_assert(offsetof(VsockEvent, id) == 0);
inline constexpr std::uint32_t vsock_event_transport_reset = 0;

/// The host's CID; 0 and 1 are reserved. Source: virtio 1.3, 5.10.4.
inline constexpr std::uint64_t vsock_host_cid = 2;

}  // namespace trivet::virtio::abi
