// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>
#include <trivet/vmm/loader/image.hpp>

namespace trivet::vmm {

/// Where an initial RAM disk of `size` bytes goes: as high as `ram`, the low RAM, and `last`, the highest address the
/// kernel accepts, allow, page aligned, above the kernel. `out_of_range` (caller) when it does not fit. Any thread.
Result<GuestRange> initrd_range(std::uint64_t size, const GuestRange& ram, const GuestRange& kernel,
                                std::uint64_t last);

/// Puts it there. Errors as `initrd_range` and `Image::place`.
Result<GuestRange> load_initrd(const Image& image, const memory::GuestMemory& memory, const GuestRange& ram,
                               const GuestRange& kernel, std::uint64_t last);

}  // namespace trivet::vmm
