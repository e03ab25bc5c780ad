// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <optional>
#include <span>

#include <trivet/core/address.hpp>
#include <trivet/vmm/loader/image.hpp>

#include "abi/elf.hpp"

namespace trivet::vmm {

/// The PVH entry that a note names, or nothing. `malformed` when a note is broken.
Result<std::optional<GuestAddress>> find_pvh_entry(const Image& image, std::span<const abi::ElfProgramHeader> headers);

}  // namespace trivet::vmm
