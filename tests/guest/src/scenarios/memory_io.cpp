// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

namespace guest {
namespace {

using trivet_guest::mmio_window;

std::uint64_t pattern(std::uint64_t offset, int size) {
  std::uint64_t value = 0;
  for (int i = 0; i < size; ++i) {
    value |= std::uint64_t{trivet_guest::test_pattern(offset + static_cast<unsigned>(i))} << (8 * i);
  }
  return value;
}

void check_reads(std::uint64_t offset) {
  GUEST_CHECK(read8(mmio_window + offset) == pattern(offset, 1));
  GUEST_CHECK(read16(mmio_window + offset) == pattern(offset, 2));
  GUEST_CHECK(read32(mmio_window + offset) == pattern(offset, 4));
  GUEST_CHECK(read64(mmio_window + offset) == pattern(offset, 8));
}

void check_extension(std::uint64_t offset) {
  std::uint64_t at = mmio_window + offset;
  std::uint64_t value;
  auto byte = static_cast<std::uint8_t>(pattern(offset, 1));
  auto half = static_cast<std::uint16_t>(pattern(offset, 2));
  asm volatile("movzbl (%1), %k0" : "=r"(value) : "r"(at) : "memory");
  GUEST_CHECK(value == byte);
  asm volatile("movsbq (%1), %0" : "=r"(value) : "r"(at) : "memory");
  GUEST_CHECK(value == static_cast<std::uint64_t>(static_cast<std::int8_t>(byte)));
  asm volatile("movzwl (%1), %k0" : "=r"(value) : "r"(at) : "memory");
  GUEST_CHECK(value == half);
  asm volatile("movswq (%1), %0" : "=r"(value) : "r"(at) : "memory");
  GUEST_CHECK(value == static_cast<std::uint64_t>(static_cast<std::int16_t>(half)));
  asm volatile("movslq (%1), %0" : "=r"(value) : "r"(at) : "memory");
  GUEST_CHECK(value == static_cast<std::uint64_t>(static_cast<std::int32_t>(pattern(offset, 4))));
}

}  // namespace

void memory_io(const BootInfo&) {
  check_reads(0x100);
  check_reads(0x103);
  check_extension(0x110);  // a byte and a half word with and without their sign
  check_extension(0x11a);
  write8(mmio_window + 0x201, 0x11);
  write16(mmio_window + 0x202, 0x2233);
  write32(mmio_window + 0x204, 0x44556677);
  write64(mmio_window + 0x208, 0x8899aabbccddeeff);
  write16(mmio_window + 0x213, 0x1234);
  write32(mmio_window + 0x219, 0x56789abc);
  write64(mmio_window + 0x223, 0xdef0123456789abc);
  asm volatile("movl $0x13572468, (%0)" ::"r"(mmio_window + 0x230) : "memory");
  asm volatile("movq $-2, (%0)" ::"r"(mmio_window + 0x238) : "memory");
  GUEST_CHECK(read64(mmio_window + 0x208) == 0x8899aabbccddeeff);
  GUEST_CHECK(read64(mmio_window + 0x223) == 0xdef0123456789abc);
}

}  // namespace guest
