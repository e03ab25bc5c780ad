// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

namespace guest {
namespace {

using trivet_guest::mmio_window;
using trivet_guest::scratch;

#define GUEST_MOVE(name, instruction)                                               \
  void name(std::uint64_t to, std::uint64_t from, std::uint64_t count) {            \
    asm volatile("rep " instruction : "+D"(to), "+S"(from), "+c"(count)::"memory"); \
    GUEST_CHECK(count == 0);                                                        \
  }
GUEST_MOVE(move8, "movsb")
GUEST_MOVE(move16, "movsw")
GUEST_MOVE(move32, "movsl")
GUEST_MOVE(move64, "movsq")

void check_pattern(std::uint64_t at, std::uint64_t offset, unsigned size) {
  for (unsigned i = 0; i < size; ++i) GUEST_CHECK(word<std::uint8_t>(at + i) == trivet_guest::test_pattern(offset + i));
}

}  // namespace

void memory_string(const BootInfo&) {
  for (unsigned i = 0; i < 64; ++i) word<std::uint8_t>(scratch + i) = static_cast<std::uint8_t>(0x40 + i);
  move8(mmio_window + 0x800, scratch, 5);
  move16(mmio_window + 0x810, scratch + 8, 3);
  move32(mmio_window + 0x820, scratch + 16, 3);
  move64(mmio_window + 0x840, scratch + 32, 2);
  move8(scratch + 0x100, mmio_window + 0x400, 5);
  move16(scratch + 0x110, mmio_window + 0x410, 3);
  move32(scratch + 0x120, mmio_window + 0x420, 3);
  move64(scratch + 0x140, mmio_window + 0x440, 2);
  check_pattern(scratch + 0x100, 0x400, 5);
  check_pattern(scratch + 0x110, 0x410, 6);
  check_pattern(scratch + 0x120, 0x420, 12);
  check_pattern(scratch + 0x140, 0x440, 16);

  std::uint64_t to = mmio_window + 0x900;
  std::uint64_t count = 3;
  asm volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(0xcafef00d) : "memory");
  GUEST_CHECK(to == mmio_window + 0x90c && count == 0);
  std::uint64_t from = mmio_window + 0x450;
  std::uint64_t rax = 0;
  asm volatile("lodsw" : "+S"(from), "+a"(rax)::"memory");
  GUEST_CHECK(from == mmio_window + 0x452);
  GUEST_CHECK(rax == (trivet_guest::test_pattern(0x450) | std::uint64_t{trivet_guest::test_pattern(0x451)} << 8));
  // Downwards, from RAM to the device.
  to = mmio_window + 0x91c;
  from = scratch + 0x0c;
  count = 2;
  asm volatile("std; rep movsl; cld" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  GUEST_CHECK(to == mmio_window + 0x914 && from == scratch + 4 && count == 0);
}

}  // namespace guest
