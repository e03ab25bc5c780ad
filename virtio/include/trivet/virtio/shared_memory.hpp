// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>

namespace trivet::virtio {

/// A shared memory region of a device: memory of the host's that its driver finds at an address of the guest's and uses
/// without queues (virtio 1.3, 2.10). Whoever owns the transport maps it into the guest.
struct SharedMemory {
  std::uint8_t id = 0;          ///< which region, as the device type counts them
  std::uint64_t length = 0;     ///< bytes: a multiple of 4 KiB, not 0
  std::byte* host = nullptr;    ///< where this process has it, page aligned
  int fd = -1;                  ///< what others can map it from; -1: there is none
  std::uint64_t fd_offset = 0;  ///< where in that it begins
};

/// `invalid_argument` (caller): two regions have the same id, or one is empty, not of whole pages or nowhere.
Result<void> check_shared_memory(std::span<const SharedMemory> regions);

/// The region of that id, or null. A driver may ask for any number.
[[nodiscard]] const SharedMemory* find_shared_memory(std::span<const SharedMemory> regions, std::uint32_t id) noexcept;

/// Regions one behind the other, as they lie in a window of their own: bytes up to a region's begin, and to the end of
/// all where `region` is their number.
[[nodiscard]] std::uint64_t shared_memory_offset(std::span<const SharedMemory> regions, std::size_t region) noexcept;

/// \name An access to such a window that no mapping served: up to 8 aligned bytes at once, zeros where no region is
/// @{
void read_shared_memory(std::span<const SharedMemory> regions, std::uint64_t offset, Bytes out) noexcept;
void write_shared_memory(std::span<const SharedMemory> regions, std::uint64_t offset, ConstBytes in) noexcept;
/// @}

}  // namespace trivet::virtio
