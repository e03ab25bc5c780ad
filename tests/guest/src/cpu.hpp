// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Instructions that C++ has no words for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace guest {

struct CpuidResult {
  std::uint32_t eax, ebx, ecx, edx;
};

inline CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  CpuidResult r;
  asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
  return r;
}

inline std::uint64_t rdmsr(std::uint32_t index) {
  std::uint32_t low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
  return (std::uint64_t{high} << 32) | low;
}

inline void wrmsr(std::uint32_t index, std::uint64_t value) {
  asm volatile("wrmsr" ::"c"(index), "a"(static_cast<std::uint32_t>(value)),
               "d"(static_cast<std::uint32_t>(value >> 32))
               : "memory");
}

inline std::uint64_t rdtsc() {
  std::uint32_t low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
  return (std::uint64_t{high} << 32) | low;
}

inline void pause() {
  asm volatile("pause" ::: "memory");
}
inline void disable_interrupts() {
  asm volatile("cli" ::: "memory");
}
inline void enable_interrupts() {
  asm volatile("sti" ::: "memory");
}
/// Waits for one interrupt; interrupts are off before and after.
inline void wait_for_interrupt() {
  asm volatile("sti; hlt; cli" ::: "memory");
}
[[noreturn]] inline void halt_forever() {
  for (;;) asm volatile("cli; hlt" ::: "memory");
}

inline void flush_tlb() {
  std::uint64_t cr3;
  asm volatile("movq %%cr3, %0; movq %0, %%cr3" : "=r"(cr3)::"memory");
}

inline std::uint8_t in8(std::uint16_t port) {
  std::uint8_t v;
  asm volatile("inb %w1, %0" : "=a"(v) : "Nd"(port) : "memory");
  return v;
}
inline std::uint16_t in16(std::uint16_t port) {
  std::uint16_t v;
  asm volatile("inw %w1, %0" : "=a"(v) : "Nd"(port) : "memory");
  return v;
}
inline std::uint32_t in32(std::uint16_t port) {
  std::uint32_t v;
  asm volatile("inl %w1, %0" : "=a"(v) : "Nd"(port) : "memory");
  return v;
}
inline void out8(std::uint16_t port, std::uint8_t v) {
  asm volatile("outb %0, %w1" ::"a"(v), "Nd"(port) : "memory");
}
inline void out16(std::uint16_t port, std::uint16_t v) {
  asm volatile("outw %0, %w1" ::"a"(v), "Nd"(port) : "memory");
}
inline void out32(std::uint16_t port, std::uint32_t v) {
  asm volatile("outl %0, %w1" ::"a"(v), "Nd"(port) : "memory");
}
inline void out8_string(std::uint16_t port, const void* from, std::size_t count) {
  asm volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(port) : "memory");
}

// Plain MOV of exactly this width, for device memory: some emulators know few other forms.
inline std::uint8_t read8(std::uint64_t at) {
  std::uint8_t v;
  asm volatile("movb (%1), %0" : "=q"(v) : "r"(at) : "memory");
  return v;
}
inline std::uint16_t read16(std::uint64_t at) {
  std::uint16_t v;
  asm volatile("movw (%1), %0" : "=r"(v) : "r"(at) : "memory");
  return v;
}
inline std::uint32_t read32(std::uint64_t at) {
  std::uint32_t v;
  asm volatile("movl (%1), %0" : "=r"(v) : "r"(at) : "memory");
  return v;
}
inline std::uint64_t read64(std::uint64_t at) {
  std::uint64_t v;
  asm volatile("movq (%1), %0" : "=r"(v) : "r"(at) : "memory");
  return v;
}
inline void write8(std::uint64_t at, std::uint8_t v) {
  asm volatile("movb %0, (%1)" ::"q"(v), "r"(at) : "memory");
}
inline void write16(std::uint64_t at, std::uint16_t v) {
  asm volatile("movw %0, (%1)" ::"r"(v), "r"(at) : "memory");
}
inline void write32(std::uint64_t at, std::uint32_t v) {
  asm volatile("movl %0, (%1)" ::"r"(v), "r"(at) : "memory");
}
inline void write64(std::uint64_t at, std::uint64_t v) {
  asm volatile("movq %0, (%1)" ::"r"(v), "r"(at) : "memory");
}

}  // namespace guest
