// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

// The kernel's KVM interface as C++ must see it. Debian 12's <linux/kvm.h> (6.1) wraps flexible arrays in a struct that
// C++ gives a size, so that kvm_cpuid2 and kvm_xsave grow and with them the ioctl numbers; plain arrays keep the C
// layout.
#include <linux/stddef.h>
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(TYPE, NAME) TYPE NAME[]
#include <cstddef>
#include <cstdint>
#include <linux/kvm.h>

static_assert(sizeof(kvm_cpuid2) == 8 && offsetof(kvm_cpuid2, entries) == 8);
static_assert(sizeof(kvm_xsave) == 4096);
static_assert(sizeof(kvm_msrs) == 8 && offsetof(kvm_msrs, entries) == 8);
static_assert(sizeof(kvm_msr_list) == 4 && offsetof(kvm_msr_list, indices) == 4);
static_assert(sizeof(kvm_irq_routing) == 8 && offsetof(kvm_irq_routing, entries) == 8);
static_assert(sizeof(kvm_coalesced_mmio_ring) == 8 && sizeof(kvm_coalesced_mmio) == 24);
static_assert(sizeof(kvm_cpuid_entry2) == 40 && sizeof(kvm_msr_entry) == 16 && sizeof(kvm_irq_routing_entry) == 48);
static_assert(sizeof(kvm_regs) == 144 && sizeof(kvm_sregs) == 312 && sizeof(kvm_vcpu_events) == 64);
static_assert(sizeof(kvm_lapic_state) == 1024 && sizeof(kvm_dirty_gfn) == 16);
static_assert(offsetof(kvm_run, exit_reason) == 8 && offsetof(kvm_run, io) == 32 && sizeof(kvm_run) == 2352);

// What 6.1's header does not have yet.
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif
#ifndef KVM_CAP_USER_MEMORY2
#define KVM_CAP_USER_MEMORY2 231
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, ::trivet::kvm::UserMemoryRegion2)
#endif
#ifndef KVM_CAP_GUEST_MEMFD
#define KVM_CAP_GUEST_MEMFD 234
#define KVM_CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, ::trivet::kvm::CreateGuestMemfd)
#define KVM_MEM_GUEST_MEMFD (1UL << 2)
#endif
#ifndef KVM_CAP_GUEST_MEMFD_FLAGS
#define KVM_CAP_GUEST_MEMFD_FLAGS 244
#endif

namespace trivet::kvm {

/// kvm_run.memory_fault (Linux 6.8), at the exit union's place.
struct MemoryFaultExit {
  std::uint64_t flags;
  std::uint64_t gpa;
  std::uint64_t size;
};
static_assert(sizeof(MemoryFaultExit) == 24);

/// kvm_userspace_memory_region2 (Linux 6.8).
struct UserMemoryRegion2 {
  std::uint32_t slot;
  std::uint32_t flags;
  std::uint64_t guest_phys_addr;
  std::uint64_t memory_size;
  std::uint64_t userspace_addr;
  std::uint64_t guest_memfd_offset;
  std::uint32_t guest_memfd;
  std::uint32_t pad1;
  std::uint64_t pad2[14];
};
static_assert(sizeof(UserMemoryRegion2) == 160 && offsetof(UserMemoryRegion2, guest_memfd) == 40);

/// kvm_create_guest_memfd (Linux 6.8) and its flags (Linux 6.18).
struct CreateGuestMemfd {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t reserved[6];
};
static_assert(sizeof(CreateGuestMemfd) == 64);
inline constexpr std::uint64_t guest_memfd_mmap = 1 << 0;
inline constexpr std::uint64_t guest_memfd_init_shared = 1 << 1;

inline constexpr std::uint64_t page_size = 4096;

}  // namespace trivet::kvm
