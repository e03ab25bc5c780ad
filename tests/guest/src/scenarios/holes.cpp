// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

namespace guest {
namespace {

void check_hole(std::uint64_t at) {
  GUEST_CHECK(read8(at) == 0xff);
  GUEST_CHECK(read16(at) == 0xffff);
  GUEST_CHECK(read32(at) == 0xffffffff);
  GUEST_CHECK(read64(at) == ~std::uint64_t{0});
  write8(at, 1);
  write16(at, 2);
  write32(at, 3);
  write64(at, 4);
  GUEST_CHECK(read64(at) == ~std::uint64_t{0});
}

}  // namespace

void holes(const BootInfo&) {
  check_hole(trivet_guest::mmio_hole);
  check_hole(trivet_guest::ram_size);  // the first byte after RAM
  constexpr std::uint16_t port = trivet_guest::port_hole;
  GUEST_CHECK(in8(port) == 0xff);
  GUEST_CHECK(in16(port) == 0xffff);
  GUEST_CHECK(in32(port) == 0xffffffff);
  out8(port, 1);
  out16(port, 2);
  out32(port, 3);
  GUEST_CHECK(in32(port) == 0xffffffff);
}

}  // namespace guest
