// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Puts the built-in guest into RAM and a vCPU at its entry, as the PVH boot protocol says.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/vcpu.hpp>

namespace conformance {

/// Clears `ram` (guest address 0), loads the guest and its start info; gives the entry address.
trivet::Result<std::uint64_t> load_guest(trivet::Bytes ram, std::string_view command_line);

/// Flat 32-bit protected mode at `entry`.
trivet::Result<void> set_boot_registers(trivet::Vcpu& vcpu, std::uint64_t entry);

}  // namespace conformance
