// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <span>

#include <trivet/core/registers_x86_64.hpp>

namespace trivet::xen {

/// Width of a guest physical address, from leaf 0x80000008; 36 where the leaf is missing. Pure.
[[nodiscard]] unsigned physical_address_bits(std::span<const CpuidEntry> entries);

}  // namespace trivet::xen
