// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <sys/ioctl.h>

/// Linux include/uapi/xen/privcmd.h: /dev/xen/privcmd, as far as memory is mapped through it.
namespace trivet::memory::abi {

/// privcmd_mmapbatch_v2: maps frames over a whole mapping of the device; a status for each frame.
struct PrivcmdMmapBatch {
  std::uint32_t num = 0;
  std::uint16_t dom = 0;
  std::uint64_t addr = 0;
  const std::uint64_t* arr = nullptr;  ///< frame numbers
  std::int32_t* err = nullptr;         ///< 0 or -errno, one a frame
};
static_assert(sizeof(PrivcmdMmapBatch) == 32 && offsetof(PrivcmdMmapBatch, dom) == 4);
static_assert(offsetof(PrivcmdMmapBatch, addr) == 8 && offsetof(PrivcmdMmapBatch, arr) == 16);
static_assert(offsetof(PrivcmdMmapBatch, err) == 24);

inline constexpr unsigned long privcmd_mmap_batch_v2 = _IOC(_IOC_NONE, 'P', 4, sizeof(PrivcmdMmapBatch));
/// Takes a pointer to the domain, 16 bits: from then on the handle serves no other.
inline constexpr unsigned long privcmd_restrict = _IOC(_IOC_NONE, 'P', 6, sizeof(std::uint16_t));

}  // namespace trivet::memory::abi
