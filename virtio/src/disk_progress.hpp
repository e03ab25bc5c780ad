// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/core/bytes.hpp>
#include <trivet/virtio/block_backend.hpp>

namespace trivet::virtio {

/// Bytes of a read or write that are still to do.
[[nodiscard]] std::uint64_t bytes_left(const DiskOperation& operation) noexcept;

/// Goes on by `bytes`, which are done: at most `bytes_left`.
void advance(DiskOperation& operation, std::uint64_t bytes) noexcept;

/// Copy what the operation's next `size()` bytes of memory are, or become.
void copy_from(const DiskOperation& operation, Bytes out) noexcept;
void copy_to(const DiskOperation& operation, ConstBytes in) noexcept;

}  // namespace trivet::virtio
