// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

namespace guest {
namespace {

using trivet_guest::mmio_window;

constexpr std::uint64_t at = mmio_window + 0xa00;
constexpr std::uint64_t arithmetic_flags = 0x8d5;  // OF SF ZF AF PF CF
constexpr std::uint64_t logic_flags = 0x8c5;       // without AF, which AND, OR and XOR leave undefined

// The same instruction on device memory and on RAM must leave the same value, register and flags.
#define GUEST_COMPARE(first, operand, flags_that_count, text)                                                       \
  do {                                                                                                              \
    std::uint64_t device_flags, ram_flags, device_register = (operand), ram_register = (operand);                   \
    volatile std::uint64_t ram = (first);                                                                           \
    write32(at, static_cast<std::uint32_t>(first));                                                                 \
    asm volatile(text "; pushfq; popq %0" : "=&r"(device_flags), "+r"(device_register) : "r"(at) : "memory", "cc"); \
    asm volatile(text "; pushfq; popq %0" : "=&r"(ram_flags), "+r"(ram_register) : "r"(&ram) : "memory", "cc");     \
    GUEST_CHECK(((device_flags ^ ram_flags) & (flags_that_count)) == 0);                                            \
    GUEST_CHECK(device_register == ram_register);                                                                   \
    GUEST_CHECK(read32(at) == static_cast<std::uint32_t>(ram));                                                     \
  } while (false)

void compare_exchange(std::uint32_t old, std::uint32_t expected, std::uint32_t wanted, bool locked) {
  std::uint8_t equal;
  std::uint64_t rax = expected;
  write32(at, old);
  if (locked) {
    asm volatile("lock cmpxchgl %k2, (%3); sete %0" : "=q"(equal), "+a"(rax) : "r"(wanted), "r"(at) : "memory", "cc");
  } else {
    asm volatile("cmpxchgl %k2, (%3); sete %0" : "=q"(equal), "+a"(rax) : "r"(wanted), "r"(at) : "memory", "cc");
  }
  GUEST_CHECK((equal != 0) == (old == expected));
  GUEST_CHECK(rax == (old == expected ? expected : old));
  GUEST_CHECK(read32(at) == (old == expected ? wanted : old));
}

}  // namespace

void memory_modify(const BootInfo&) {
  GUEST_COMPARE(0x0f0f00ff, 0x80f0f000, logic_flags, "orl %k1, (%2)");
  GUEST_COMPARE(0xff0f00ff, 0x8ff0f00f, logic_flags, "andl %k1, (%2)");
  GUEST_COMPARE(0x0f0f00ff, 0x0f0f00ff, logic_flags, "xorl %k1, (%2)");
  GUEST_COMPARE(0xfffffff0, 0x20, arithmetic_flags, "addl %k1, (%2)");
  GUEST_COMPARE(0x7fffffff, 0x1, arithmetic_flags, "addl %k1, (%2)");
  GUEST_COMPARE(0x10, 0x20, arithmetic_flags, "subl %k1, (%2)");
  GUEST_COMPARE(0x7fffffff, 0, arithmetic_flags, "incl (%2)");
  GUEST_COMPARE(0x80000000, 0, arithmetic_flags, "decl (%2)");
  GUEST_COMPARE(0x12345678, 0, 0, "notl (%2)");
  GUEST_COMPARE(0x12345678, 0, arithmetic_flags, "negl (%2)");
  GUEST_COMPARE(0x81234567, 0, 1, "shll $1, (%2)");
  GUEST_COMPARE(0x12345678, 3, 1, "btsl $7, (%2)");
  GUEST_COMPARE(0x12345678, 0x9abcdef0, 0, "xchgl %k1, (%2)");
  GUEST_COMPARE(0x12345678, 0x9abcdef0, arithmetic_flags, "xaddl %k1, (%2)");
  GUEST_COMPARE(0x12345678, 0x9abcdef0, arithmetic_flags, "lock xaddl %k1, (%2)");
  GUEST_COMPARE(0x0f0f00ff, 0x80f0f000, logic_flags, "lock orl %k1, (%2)");
  GUEST_COMPARE(0x12345600, 0x1, logic_flags, "orb %b1, (%2)");
  compare_exchange(5, 5, 9, false);
  compare_exchange(5, 6, 9, false);
  compare_exchange(5, 5, 9, true);
  // Compared only: one read each, nothing written.
  sync(1);
  std::uint8_t equal;
  asm volatile("cmpl $9, (%1); sete %0" : "=q"(equal) : "r"(at) : "memory", "cc");
  GUEST_CHECK(equal == 1);
  asm volatile("testl $9, (%1); setne %0" : "=q"(equal) : "r"(at) : "memory", "cc");
  GUEST_CHECK(equal == 1);
}

}  // namespace guest
