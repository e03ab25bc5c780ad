// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>

#include <trivet/core/io_handler.hpp>

#include "abi.hpp"

namespace trivet::kvm {

/// Calls `piece(offset, bytes)` for parts of 1, 2, 4 or 8 bytes: the whole access if it is that, else naturally aligned
/// ones, as KVM leaves 3, 5, 6 or 7 bytes where an access crosses pages.
template <class Piece>
void for_each_piece(std::uint64_t at, std::size_t size, Piece&& piece) {
  for (std::size_t offset = 0; offset < size;) {
    const std::size_t left = size - offset;
    std::size_t bytes = std::bit_floor(std::min<std::size_t>(left, 8));
    if (!std::has_single_bit(size) || size > 8) {
      while (((at + offset) & (bytes - 1)) != 0) bytes /= 2;
    }
    piece(offset, bytes);
    offset += bytes;
  }
}

/// KVM_EXIT_IO: every element of a string access is an access of its own.
inline void serve_port(kvm_run& run, IoHandler& io) {
  const auto& exit = run.io;
  // SAFETY: the kernel puts the data at this offset inside the same mapping, count * size bytes of it.
  auto* data = reinterpret_cast<std::byte*>(&run) + exit.data_offset;
  for (std::uint32_t element = 0; element < exit.count; ++element, data += exit.size) {
    if (exit.direction == KVM_EXIT_IO_IN) {
      io.pio_read(exit.port, {data, exit.size});
    } else {
      io.pio_write(exit.port, {data, exit.size});
    }
  }
}

/// KVM_EXIT_MMIO.
inline void serve_memory(kvm_run& run, IoHandler& io) {
  auto& exit = run.mmio;
  // SAFETY: bytes of the shared page, seen as bytes.
  auto* data = reinterpret_cast<std::byte*>(exit.data);
  for_each_piece(exit.phys_addr, exit.len, [&](std::size_t offset, std::size_t bytes) {
    const GuestAddress at{exit.phys_addr + offset};
    if (exit.is_write != 0) {
      io.mmio_write(at, {data + offset, bytes}, Posted::no);
    } else {
      io.mmio_read(at, {data + offset, bytes});
    }
  });
}

}  // namespace trivet::kvm
