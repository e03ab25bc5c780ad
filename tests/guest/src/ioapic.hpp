// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The first I/O APIC, at its usual place (Intel 82093AA).
#pragma once

#include <cstdint>

#include "cpu.hpp"

namespace guest {

/// Sends `gsi` to this vector of the processor `apic_id`, unmasked, active high.
inline void ioapic_route(std::uint32_t gsi, std::uint8_t vector, bool level, std::uint32_t apic_id) {
  constexpr std::uint64_t select = 0xfec00000, window = 0xfec00010;
  write32(select, 0x11 + 2 * gsi);
  write32(window, apic_id << 24);
  write32(select, 0x10 + 2 * gsi);
  write32(window, vector | (level ? 1u << 15 : 0u));
}

/// Masks the two legacy controllers, which see the same lines.
inline void pic_mask() {
  out8(0x21, 0xff);
  out8(0xa1, 0xff);
}

}  // namespace guest
