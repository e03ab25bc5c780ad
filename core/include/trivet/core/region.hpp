// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>

#include <trivet/core/address.hpp>

namespace trivet {

/// What a guest may do with a region.
enum class Access : std::uint8_t {
  read_write,  ///< and execute
  read_only,   ///< and, with Cap::read_only_code, execute; a write comes to the IoHandler as an MMIO write
};

/// Memory that the caller mapped and keeps mapped until `Vm::unmap`. Page aligned.
struct HostMemory {
  std::byte* address = nullptr;
};

/// A descriptor (memfd, file, hugetlbfs), mapped shared by the VM from byte `offset`; the caller may close it after
/// `map`.
struct FileMemory {
  int fd = -1;
  std::uint64_t offset = 0;
};

/// The hypervisor owns the pages; the VM populates them and maps them into this process. In an attached VM they are
/// there already and are only mapped: `not_found` names a page that is not.
struct HypervisorMemory {};

using MemorySource = std::variant<HostMemory, FileMemory, HypervisorMemory>;

/// One mapping of guest physical memory (P6). `range` is page aligned.
struct RegionSpec {
  GuestRange range;
  MemorySource source;
  Access access = Access::read_write;
  bool log_dirty = false;  ///< the DirtyLog facet knows what the guest writes here
};

/// What `Vm::map` gives: where the region stands in this process. Valid until `Vm::unmap` of the same range.
struct MappedRegion {
  GuestRange range;
  std::byte* host = nullptr;  ///< `range.size` bytes; writable also where the guest may only read
  Access access = Access::read_write;
  bool can_pin = true;  ///< get_user_pages works: O_DIRECT and registered I/O buffers may point into it
  int shared_fd = -1;   ///< a descriptor that another process can map; -1 where there is none. Not owned.
  std::uint64_t shared_offset = 0;
};

}  // namespace trivet
