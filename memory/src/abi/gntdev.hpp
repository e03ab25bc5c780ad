// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <sys/ioctl.h>

/// Linux include/uapi/xen/gntdev.h: /dev/xen/gntdev.
namespace trivet::memory::abi {

struct GntdevGrantRef {
  std::uint32_t domid;
  std::uint32_t ref;
};
static_assert(sizeof(GntdevGrantRef) == 8 && offsetof(GntdevGrantRef, ref) == 4);

/// ioctl_gntdev_map_grant_ref without its flexible end: `count` GntdevGrantRef follow.
struct GntdevMapGrantRef {
  std::uint32_t count;
  std::uint32_t pad;
  std::uint64_t index;  ///< out: the offset to mmap
};
static_assert(sizeof(GntdevMapGrantRef) == 16 && offsetof(GntdevMapGrantRef, index) == 8);

struct GntdevUnmapGrantRef {
  std::uint64_t index;
  std::uint32_t count;
  std::uint32_t pad;
};
static_assert(sizeof(GntdevUnmapGrantRef) == 16 && offsetof(GntdevUnmapGrantRef, count) == 8);

/// The number holds the size with one reference.
inline constexpr unsigned long gntdev_map_grant_ref =
    _IOC(_IOC_NONE, 'G', 0, sizeof(GntdevMapGrantRef) + sizeof(GntdevGrantRef));
inline constexpr unsigned long gntdev_unmap_grant_ref = _IOC(_IOC_NONE, 'G', 1, sizeof(GntdevUnmapGrantRef));

}  // namespace trivet::memory::abi
