// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <string_view>

#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>

namespace trivet::vmm {

/// Resident memory of this process without its guest's memory, in KiB. Source: /proc/self/smaps, proc(5).
Result<std::uint64_t> resident_kib(const memory::GuestMemory& guest);

/// The sum over the text of an smaps file.
[[nodiscard]] std::uint64_t resident_kib(std::string_view smaps, const memory::GuestMemory& guest);

}  // namespace trivet::vmm
