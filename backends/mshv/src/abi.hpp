// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

// The kernel's interface to the Microsoft Hypervisor (/dev/mshv, Linux 6.15 and later, x86-64), declared here because
// distributions' headers predate it. Reserved fields are zero.
#include <cstddef>
#include <cstdint>
#include <sys/ioctl.h>

#include "abi_hypercalls.hpp"

namespace trivet::mshv::abi {

inline constexpr const char* device_path = "/dev/mshv";
inline constexpr unsigned ioctl_type = 0xb8;
inline constexpr std::uint64_t page_size = 4096;
inline constexpr std::uint32_t most_vps = 256;
inline constexpr std::uint32_t most_routes = 4096;

/// CREATE_PARTITION. Source: include/uapi/linux/mshv.h, as all of this file.
struct CreatePartition {
  std::uint64_t flags;
  std::uint64_t isolation;
};
static_assert(sizeof(CreatePartition) == 16);
namespace partition_flag {
inline constexpr std::uint64_t lapic = 1U << 0;
inline constexpr std::uint64_t x2apic = 1U << 1;
inline constexpr std::uint64_t super_pages = 1U << 2;
inline constexpr std::uint64_t cpu_features = 1U << 3;  ///< the 64-byte structure follows
}  // namespace partition_flag

/// CREATE_PARTITION with `partition_flag::cpu_features`: the kernel reads all 64 bytes.
struct CreatePartition2 {
  CreatePartition base;
  std::uint16_t feature_banks;
  std::uint8_t reserved[6];
  std::uint64_t disabled_features[2];
  std::uint64_t reserved1[2];
  std::uint64_t disabled_xsave;
};
static_assert(sizeof(CreatePartition2) == 64 && offsetof(CreatePartition2, disabled_features) == 24 &&
              offsetof(CreatePartition2, disabled_xsave) == 56);

struct CreateVp {
  std::uint32_t index;
};
static_assert(sizeof(CreateVp) == 4);

/// SET_GUEST_MEMORY.
struct GuestMemory {
  std::uint64_t size;
  std::uint64_t guest_page;
  std::uint64_t host_address;
  std::uint8_t flags;
  std::uint8_t reserved[7];
};
static_assert(sizeof(GuestMemory) == 32 && offsetof(GuestMemory, flags) == 24);
namespace memory_flag {
inline constexpr std::uint8_t writable = 1U << 0;
inline constexpr std::uint8_t executable = 1U << 1;
inline constexpr std::uint8_t unmap = 1U << 2;
}  // namespace memory_flag

struct IrqFd {
  std::int32_t fd;
  std::int32_t resample_fd;
  std::uint32_t gsi;
  std::uint32_t flags;
};
static_assert(sizeof(IrqFd) == 16 && offsetof(IrqFd, gsi) == 8);
namespace irqfd_flag {
inline constexpr std::uint32_t deassign = 1U << 0;
inline constexpr std::uint32_t resample = 1U << 1;
}  // namespace irqfd_flag

struct IoEventFd {
  std::uint64_t match;
  std::uint64_t address;
  std::uint32_t size;
  std::int32_t fd;
  std::uint32_t flags;
  std::uint8_t reserved[4];
};
static_assert(sizeof(IoEventFd) == 32 && offsetof(IoEventFd, size) == 16 && offsetof(IoEventFd, flags) == 24);
namespace ioeventfd_flag {
inline constexpr std::uint32_t match = 1U << 0;
inline constexpr std::uint32_t port = 1U << 1;  ///< EOPNOTSUPP
inline constexpr std::uint32_t deassign = 1U << 2;
}  // namespace ioeventfd_flag

struct MsiRoute {
  std::uint32_t gsi;
  std::uint32_t address_low;
  std::uint32_t address_high;
  std::uint32_t data;
};
static_assert(sizeof(MsiRoute) == 16);
/// SET_MSI_ROUTING; `count` routes follow.
struct MsiRouting {
  std::uint32_t count;
  std::uint32_t reserved;
};
static_assert(sizeof(MsiRouting) == 8);

struct AccessBitmap {
  std::uint8_t type;
  std::uint8_t operation;
  std::uint8_t reserved[6];
  std::uint64_t pages;
  std::uint64_t first_page;
  std::uint64_t bitmap;
};
static_assert(sizeof(AccessBitmap) == 32 && offsetof(AccessBitmap, pages) == 8);
enum class AccessType : std::uint8_t { accessed, dirty };
enum class AccessOperation : std::uint8_t { none, clear, set };

/// ROOT_HVCALL, on a partition or a virtual processor. The kernel fills in the partition's id at the start of the
/// input.
struct RootHypercall {
  std::uint16_t code;
  std::uint16_t repetitions;
  std::uint16_t input_size;
  std::uint16_t output_size;
  std::uint16_t status;
  std::uint8_t reserved[6];
  std::uint64_t input;
  std::uint64_t output;
};
static_assert(sizeof(RootHypercall) == 32 && offsetof(RootHypercall, input) == 16);

/// GET_VP_STATE and SET_VP_STATE; the buffer is page aligned.
struct VpState {
  std::uint8_t type;
  std::uint8_t reserved[3];
  std::uint32_t size;
  std::uint64_t buffer;
};
static_assert(sizeof(VpState) == 16);
enum class VpStateType : std::uint8_t { lapic, xsave, simp, siefp, synthetic_timers };
inline constexpr std::size_t synthetic_timers_size = 200;

/// What RUN_VP fills.
struct Message {
  std::uint32_t type;
  std::uint8_t payload_size;
  std::uint8_t flags;
  std::uint8_t reserved[2];
  std::uint64_t sender;
  std::uint8_t payload[240];
};
static_assert(sizeof(Message) == 256 && offsetof(Message, payload) == 16);

// clang-format off
inline constexpr unsigned long create_partition      = _IOW(ioctl_type, 0, CreatePartition);
inline constexpr unsigned long initialize_partition  = _IO(ioctl_type, 0);
inline constexpr unsigned long create_vp             = _IOW(ioctl_type, 1, CreateVp);
inline constexpr unsigned long set_guest_memory      = _IOW(ioctl_type, 2, GuestMemory);
inline constexpr unsigned long irqfd                 = _IOW(ioctl_type, 3, IrqFd);
inline constexpr unsigned long ioeventfd             = _IOW(ioctl_type, 4, IoEventFd);
inline constexpr unsigned long set_msi_routing       = _IOW(ioctl_type, 5, MsiRouting);
inline constexpr unsigned long access_bitmap         = _IOWR(ioctl_type, 6, AccessBitmap);
inline constexpr unsigned long root_hypercall        = _IOWR(ioctl_type, 7, RootHypercall);
inline constexpr unsigned long run_vp                = _IOR(ioctl_type, 0, Message);
inline constexpr unsigned long get_vp_state          = _IOWR(ioctl_type, 1, VpState);
inline constexpr unsigned long set_vp_state          = _IOWR(ioctl_type, 2, VpState);
// clang-format on
static_assert(create_partition == 0x4010b800 && initialize_partition == 0xb800 && create_vp == 0x4004b801);
static_assert(set_guest_memory == 0x4020b802 && irqfd == 0x4010b803 && ioeventfd == 0x4020b804);
static_assert(set_msi_routing == 0x4008b805 && access_bitmap == 0xc020b806 && root_hypercall == 0xc020b807);
static_assert(run_vp == 0x8100b800 && get_vp_state == 0xc010b801 && set_vp_state == 0xc010b802);

/// Pages of a virtual processor's descriptor, for mmap.
inline constexpr std::uint64_t register_page_offset = 0 * page_size;
inline constexpr std::uint64_t intercept_page_offset = 1 * page_size;

}  // namespace trivet::mshv::abi
