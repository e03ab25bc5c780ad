// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/vmm/loader/image.hpp>

namespace trivet::vmm {

/// What a bzImage's setup header says, checked: boot protocol 2.12 or later with a 64-bit entry, and a protected-mode
/// part that is there in full. Source: Linux, Documentation/arch/x86/boot.rst.
struct BzImage {
  std::uint16_t version = 0;        ///< 0x20f is 2.15
  std::uint64_t kernel_offset = 0;  ///< of the protected-mode part, in the file
  std::uint64_t kernel_size = 0;
  bool relocatable = false;
  std::uint64_t alignment = 0;
  std::uint64_t preferred_address = 0;
  std::uint64_t needed_size = 0;                        ///< memory from where it runs, in bytes
  std::uint64_t command_line_size = 0;                  ///< in characters, without the closing zero
  std::uint64_t initrd_last = 0;                        ///< highest address an initial RAM disk may occupy
  std::array<std::byte, 0x26c - 0x1f1> setup_header{};  ///< as in the file; zeroes beyond its end

  /// All that the kernel writes before it reads the memory map, when loaded at `at`; size 0 when that wraps.
  [[nodiscard]] GuestRange extent(GuestAddress at) const;
};

/// `malformed` (the image is to blame); `unsupported`: a sound image of a kind that cannot boot here; `io` (host).
/// Any thread.
Result<BzImage> parse_bzimage(const Image& image);

}  // namespace trivet::vmm
