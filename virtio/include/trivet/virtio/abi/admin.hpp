// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>

#include <trivet/virtio/abi/endian.hpp>
#include <trivet/virtio/abi/features.hpp>

/// Group administration commands and the queues that carry them. Source: virtio 1.3, 2.12 and 2.13.
namespace trivet::virtio::abi {

inline constexpr std::uint64_t f_admin_vq = feature_bit(41);  ///< VIRTIO_F_ADMIN_VQ, 6

/// 2.12.1 struct virtio_admin_cmd, what the device reads: command_specific_data follows.
struct AdminCommandHeader {
  le16 opcode;
  le16 group_type;
  u8 reserved1[12];
  le64 group_member_id;
};
static_assert(sizeof(AdminCommandHeader) == 24);
static_assert(offsetof(AdminCommandHeader, opcode) == 0);
static_assert(offsetof(AdminCommandHeader, group_type) == 2);
static_assert(offsetof(AdminCommandHeader, group_member_id) == 16);

/// 2.12.1 struct virtio_admin_cmd, what the device writes: command_specific_result follows.
struct AdminCommandStatus {
  le16 status;
  le16 status_qualifier;
  u8 reserved2[4];
};
static_assert(sizeof(AdminCommandStatus) == 8);
static_assert(offsetof(AdminCommandStatus, status) == 0);
static_assert(offsetof(AdminCommandStatus, status_qualifier) == 2);

// 2.12.1: opcodes.
inline constexpr std::uint16_t admin_cmd_list_query = 0;
inline constexpr std::uint16_t admin_cmd_list_use = 1;

// 2.12.1: group types.
inline constexpr std::uint16_t admin_group_sriov = 1;

// 2.12.1: status.
inline constexpr std::uint16_t admin_status_ok = 0;
inline constexpr std::uint16_t admin_status_eagain = 11;
inline constexpr std::uint16_t admin_status_enomem = 12;
inline constexpr std::uint16_t admin_status_einval = 22;

// 2.12.1: status_qualifier.
inline constexpr std::uint16_t admin_status_q_ok = 0;
inline constexpr std::uint16_t admin_status_q_invalid_command = 1;
inline constexpr std::uint16_t admin_status_q_invalid_opcode = 2;
inline constexpr std::uint16_t admin_status_q_invalid_field = 3;
inline constexpr std::uint16_t admin_status_q_invalid_group = 4;
inline constexpr std::uint16_t admin_status_q_invalid_member = 5;
inline constexpr std::uint16_t admin_status_q_noresource = 6;
inline constexpr std::uint16_t admin_status_q_tryagain = 7;

/// 2.12.1: what LIST_QUERY gives and LIST_USE takes is an array of these, a bit for each opcode.
using AdminOpcodes = le64;
/// All opcodes there can be: 65536 bits.
inline constexpr std::size_t admin_most_opcode_words = 1024;

}  // namespace trivet::virtio::abi
