// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/vmm/loader/image.hpp>

namespace trivet::vmm {

/// A part of an ELF image that is loaded: `file_size` bytes of the file, then zeroes up to `range.size`.
struct ElfSegment {
  GuestRange range;  ///< physical
  std::uint64_t file_offset = 0;
  std::uint64_t file_size = 0;
};

/// What an ELF64 kernel's headers say, checked: segments sorted by address, none empty, wrapping, overlapping or beyond
/// the file's end; every entry inside a segment and below 4 GiB.
/// Source: System V ABI, chapters 4 and 5; xen/include/public/elfnote.h.
struct ElfKernel {
  std::vector<ElfSegment> segments;
  std::optional<GuestAddress> entry;      ///< Linux's 64-bit boot protocol; none where e_entry is no physical address
  std::optional<GuestAddress> pvh_entry;  ///< XEN_ELFNOTE_PHYS32_ENTRY

  /// From the first segment's first byte to the last one's last.
  [[nodiscard]] GuestRange extent() const;
};

/// `malformed` (the image is to blame) says what is wrong; `unsupported`: a sound ELF that is no x86-64 kernel; `io`
/// (host). Any thread.
Result<ElfKernel> parse_elf(const Image& image);

}  // namespace trivet::vmm
