// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Guest RAM may change at any time under us: bytes are copied in accesses that the compiler neither repeats nor
// invents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace trivet::mshv::emulator {

template <class T>
[[nodiscard]] inline bool is_aligned(const std::byte* at) {
  // SAFETY: only the number is looked at.
  return reinterpret_cast<std::uintptr_t>(at) % sizeof(T) == 0;
}

template <class T>
inline bool load_whole(const std::byte* from, void* to) {
  if (!is_aligned<T>(from)) return false;
  // SAFETY: aligned above; guest memory has no type of its own.
  const T value = __atomic_load_n(reinterpret_cast<const T*>(from), __ATOMIC_RELAXED);
  std::memcpy(to, &value, sizeof value);
  return true;
}

template <class T>
inline bool store_whole(std::byte* to, const void* from) {
  if (!is_aligned<T>(to)) return false;
  T value;
  std::memcpy(&value, from, sizeof value);
  // SAFETY: aligned above; guest memory has no type of its own.
  __atomic_store_n(reinterpret_cast<T*>(to), value, __ATOMIC_RELAXED);
  return true;
}

/// One access where size and alignment allow it, as on the processor; else byte by byte.
inline void load_bytes(const std::byte* from, void* to, std::size_t bytes) {
  if (bytes == 8 && load_whole<std::uint64_t>(from, to)) return;
  if (bytes == 4 && load_whole<std::uint32_t>(from, to)) return;
  if (bytes == 2 && load_whole<std::uint16_t>(from, to)) return;
  auto* out = static_cast<std::byte*>(to);
  for (std::size_t i = 0; i < bytes; ++i) (void)load_whole<std::uint8_t>(from + i, out + i);
}

inline void store_bytes(std::byte* to, const void* from, std::size_t bytes) {
  if (bytes == 8 && store_whole<std::uint64_t>(to, from)) return;
  if (bytes == 4 && store_whole<std::uint32_t>(to, from)) return;
  if (bytes == 2 && store_whole<std::uint16_t>(to, from)) return;
  const auto* in = static_cast<const std::byte*>(from);
  for (std::size_t i = 0; i < bytes; ++i) (void)store_whole<std::uint8_t>(to + i, in + i);
}

template <class T>
inline bool exchange_whole(std::byte* at, std::uint64_t expected, std::uint64_t desired) {
  auto was = static_cast<T>(expected);
  // SAFETY: the caller has looked at the alignment; guest memory has no type of its own.
  return __atomic_compare_exchange_n(reinterpret_cast<T*>(at), &was, static_cast<T>(desired), false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
}

/// A locked compare-and-exchange of an aligned 1, 2, 4 or 8 bytes. False: they were not `expected` any more.
inline bool exchange_bytes(std::byte* at, std::uint64_t expected, std::uint64_t desired, std::size_t bytes) {
  switch (bytes) {
    case 1:
      return exchange_whole<std::uint8_t>(at, expected, desired);
    case 2:
      return exchange_whole<std::uint16_t>(at, expected, desired);
    case 4:
      return exchange_whole<std::uint32_t>(at, expected, desired);
    default:
      return exchange_whole<std::uint64_t>(at, expected, desired);
  }
}

}  // namespace trivet::mshv::emulator
