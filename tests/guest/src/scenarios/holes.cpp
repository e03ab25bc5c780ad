// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

namespace guest {
namespace {

void check_hole(std::uint64_t at, std::uint64_t wanted) {
  GUEST_CHECK(read8(at) == static_cast<std::uint8_t>(wanted));
  GUEST_CHECK(read16(at) == static_cast<std::uint16_t>(wanted));
  GUEST_CHECK(read32(at) == static_cast<std::uint32_t>(wanted));
  GUEST_CHECK(read64(at) == wanted);
  write8(at, 1);
  write16(at, 2);
  write32(at, 3);
  write64(at, 4);
  GUEST_CHECK(read64(at) == wanted);
}

}  // namespace

// The host says what nobody's addresses read as, all of it: ones or zeros.
void holes(const BootInfo&) {
  const std::uint64_t wanted = mailbox().argument[0];
  check_hole(trivet_guest::mmio_hole, wanted);
  check_hole(trivet_guest::ram_size, wanted);  // the first byte after RAM
  constexpr std::uint16_t port = trivet_guest::port_hole;
  GUEST_CHECK(in8(port) == static_cast<std::uint8_t>(wanted));
  GUEST_CHECK(in16(port) == static_cast<std::uint16_t>(wanted));
  GUEST_CHECK(in32(port) == static_cast<std::uint32_t>(wanted));
  out8(port, 1);
  out16(port, 2);
  out32(port, 3);
  GUEST_CHECK(in32(port) == static_cast<std::uint32_t>(wanted));
}

}  // namespace guest
