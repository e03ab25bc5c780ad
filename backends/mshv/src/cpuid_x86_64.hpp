// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <span>
#include <vector>

#include <trivet/core/registers_x86_64.hpp>
#include <trivet/core/result.hpp>

#include "handle.hpp"

namespace trivet::mshv {

/// All that virtual processor `index` answers, registered results included.
Result<std::vector<CpuidEntry>> read_cpuid(const Handle& vp, std::uint32_t index);

/// Registers every entry as a result with full masks, and nothing for the leaves of `now` that are not among them.
Result<void> register_cpuid(const Handle& vp, std::uint32_t index, std::span<const CpuidEntry> entries,
                            std::span<const CpuidEntry> now);

}  // namespace trivet::mshv
