// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

namespace guest {
namespace {

using trivet_guest::port_window;
using trivet_guest::test_pattern;

std::uint32_t pattern(std::uint64_t offset, int size) {
  std::uint32_t value = 0;
  for (int i = 0; i < size; ++i) value |= std::uint32_t{test_pattern(offset + static_cast<unsigned>(i))} << (8 * i);
  return value;
}

// IN leaves the rest of the register alone for 8 and 16 bits and clears the upper half for 32.
void check_in(std::uint16_t offset) {
  auto port = static_cast<std::uint16_t>(port_window + offset);
  std::uint64_t rax = 0x1122334455667788;
  asm volatile("inb %w1, %%al" : "+a"(rax) : "d"(port) : "memory");
  GUEST_CHECK(rax == (0x1122334455667700 | pattern(offset, 1)));
  rax = 0x1122334455667788;
  asm volatile("inw %w1, %%ax" : "+a"(rax) : "d"(port) : "memory");
  GUEST_CHECK(rax == (0x1122334455660000 | pattern(offset, 2)));
  rax = 0x1122334455667788;
  asm volatile("inl %w1, %%eax" : "+a"(rax) : "d"(port) : "memory");
  GUEST_CHECK(rax == pattern(offset, 4));
}

}  // namespace

void port_io(const BootInfo&) {
  check_in(8);
  check_in(13);  // no port is naturally unaligned to a hypervisor
  out8(port_window + 1, 0x11);
  out16(port_window + 2, 0x2233);
  out32(port_window + 4, 0x44556677);
  out16(port_window + 3, 0x8899);
  out32(port_window + 5, 0xaabbccdd);
}

}  // namespace guest
