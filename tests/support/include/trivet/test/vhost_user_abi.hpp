// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The vhost-user protocol's messages. Source: QEMU's docs/interop/vhost-user.rst, whose sections are named here. All
// numbers are in the machine's own byte order ("Message Specification").
#pragma once

#include <cstddef>
#include <cstdint>

namespace trivet::test::vhost_user::abi {

/// Section "Header".
struct Header {
  std::uint32_t request;
  std::uint32_t flags;
  std::uint32_t size;  ///< of the payload
};
static_assert(sizeof(Header) == 12);
static_assert(offsetof(Header, request) == 0);
static_assert(offsetof(Header, flags) == 4);
static_assert(offsetof(Header, size) == 8);

inline constexpr std::uint32_t version_mask = 3;
inline constexpr std::uint32_t version = 1;
inline constexpr std::uint32_t flag_reply = 1U << 2;
inline constexpr std::uint32_t flag_need_reply = 1U << 3;
inline constexpr std::uint32_t known_flags = version_mask | flag_reply | flag_need_reply;

/// No message of the protocol is longer, but for those of GPUs, which have a socket of their own.
inline constexpr std::uint32_t most_payload = 4096;
/// In one message.
inline constexpr unsigned most_descriptors = 32;

/// Section "A vring state description".
struct VringState {
  std::uint32_t index;
  std::uint32_t num;
};
static_assert(sizeof(VringState) == 8);
static_assert(offsetof(VringState, index) == 0);
static_assert(offsetof(VringState, num) == 4);

/// Section "A vring address description". User addresses, all but the log.
struct VringAddress {
  std::uint32_t index;
  std::uint32_t flags;
  std::uint64_t descriptor;
  std::uint64_t used;
  std::uint64_t available;
  std::uint64_t log;
};
static_assert(sizeof(VringAddress) == 40);
static_assert(offsetof(VringAddress, index) == 0);
static_assert(offsetof(VringAddress, flags) == 4);
static_assert(offsetof(VringAddress, descriptor) == 8);
static_assert(offsetof(VringAddress, used) == 16);
static_assert(offsetof(VringAddress, available) == 24);
static_assert(offsetof(VringAddress, log) == 32);

/// A region of the section "Memory regions description".
struct MemoryRegion {
  std::uint64_t guest_address;
  std::uint64_t size;
  std::uint64_t user_address;
  std::uint64_t mmap_offset;
};
static_assert(sizeof(MemoryRegion) == 32);
static_assert(offsetof(MemoryRegion, guest_address) == 0);
static_assert(offsetof(MemoryRegion, size) == 8);
static_assert(offsetof(MemoryRegion, user_address) == 16);
static_assert(offsetof(MemoryRegion, mmap_offset) == 24);

/// What the regions of the section "Memory regions description" follow.
struct MemoryTable {
  std::uint32_t num_regions;
  std::uint32_t padding;
};
static_assert(sizeof(MemoryTable) == 8);
static_assert(offsetof(MemoryTable, num_regions) == 0);
static_assert(offsetof(MemoryTable, padding) == 4);
inline constexpr std::uint32_t most_regions = 8;

/// Section "Single memory region description".
struct SingleMemoryRegion {
  std::uint64_t padding;
  MemoryRegion region;
};
static_assert(sizeof(SingleMemoryRegion) == 40);
static_assert(offsetof(SingleMemoryRegion, padding) == 0);
static_assert(offsetof(SingleMemoryRegion, region) == 8);

/// What the bytes of the section "Virtio device config space" follow.
struct ConfigSpace {
  std::uint32_t offset;
  std::uint32_t size;
  std::uint32_t flags;
};
static_assert(sizeof(ConfigSpace) == 12);
static_assert(offsetof(ConfigSpace, offset) == 0);
static_assert(offsetof(ConfigSpace, size) == 4);
static_assert(offsetof(ConfigSpace, flags) == 8);
inline constexpr std::uint32_t most_config = 256;
inline constexpr std::uint32_t config_for_migration = 1;

/// SET_VRING_KICK, SET_VRING_CALL and SET_VRING_ERR: a queue's index, and whether there is no descriptor.
inline constexpr std::uint64_t vring_index_mask = 0xff;
inline constexpr std::uint64_t vring_no_descriptor = 1U << 8;

/// Section "Communication": the bit among the device's features that says that there are protocol features.
inline constexpr std::uint64_t f_protocol_features = std::uint64_t{1} << 30;

/// Section "Protocol features".
[[nodiscard]] constexpr std::uint64_t protocol_bit(unsigned n) {
  return std::uint64_t{1} << n;
}
inline constexpr std::uint64_t protocol_f_mq = protocol_bit(0);
inline constexpr std::uint64_t protocol_f_reply_ack = protocol_bit(3);
inline constexpr std::uint64_t protocol_f_backend_req = protocol_bit(5);
inline constexpr std::uint64_t protocol_f_config = protocol_bit(9);
inline constexpr std::uint64_t protocol_f_reset_device = protocol_bit(13);
inline constexpr std::uint64_t protocol_f_configure_mem_slots = protocol_bit(15);
inline constexpr std::uint64_t protocol_f_status = protocol_bit(16);

/// Section "Front-end message types".
enum class Request : std::uint32_t {
  get_features = 1,
  set_features = 2,
  set_owner = 3,
  reset_owner = 4,
  set_mem_table = 5,
  set_vring_num = 8,
  set_vring_addr = 9,
  set_vring_base = 10,
  get_vring_base = 11,
  set_vring_kick = 12,
  set_vring_call = 13,
  set_vring_err = 14,
  get_protocol_features = 15,
  set_protocol_features = 16,
  get_queue_num = 17,
  set_vring_enable = 18,
  set_backend_req_fd = 21,
  get_config = 24,
  set_config = 25,
  reset_device = 34,
  get_max_mem_slots = 36,
  add_mem_reg = 37,
  rem_mem_reg = 38,
  set_status = 39,
  get_status = 40,
};

/// Section "Back-end message types".
enum class BackendRequest : std::uint32_t {
  config_change_msg = 2,
};

}  // namespace trivet::test::vhost_user::abi
