// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>

/// Bytes between a descriptor (file, pipe, socket) and guest memory, with no buffer between them.
///
/// Both move all of `range`, go on after a signal and after a call that moved less, and tell how many bytes it were.
/// Fewer: the file or stream has ended, or a call failed after some had moved (the next one says how). `position`: that
/// place of a file, else where the descriptor stands.
///
/// Errors: of GuestMemory for a range that is not all memory of that permission, before anything moves; the system
/// call's own (host) when nothing has moved, with EAGAIN where the descriptor would block. Thread rule: any thread.
namespace trivet::memory {

/// The guest's memory becomes what the descriptor gives. Pages are marked dirty.
Result<std::uint64_t> read_from(int fd, const GuestMemory& memory, const GuestRange& range,
                                std::optional<std::uint64_t> position = std::nullopt);

/// The descriptor gets what the guest's memory holds.
Result<std::uint64_t> write_to(int fd, const GuestMemory& memory, const GuestRange& range,
                               std::optional<std::uint64_t> position = std::nullopt);

}  // namespace trivet::memory
