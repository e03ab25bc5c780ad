// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

/// How this process touches bytes that a guest may change at any moment. Nothing here hands out a reference: a value is
/// copied, once. Callers have checked the address (GuestMemory, Slice, Queue). Thread rule: any thread.
namespace trivet::memory {

/// What one access moves at once: an unsigned number of 1, 2, 4 or 8 bytes.
template <class T>
concept Scalar = std::unsigned_integral<T> && !std::same_as<T, bool> && sizeof(T) <= 8;

/// What is copied as it lies in memory: an ABI struct.
template <class T>
concept Plain = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>;

static_assert(std::endian::native == std::endian::little, "a big-endian host needs byte swaps in load_at and store_at");

/// One access of a naturally aligned little-endian number. `order` must suit a load.
template <Scalar T>
[[nodiscard]] inline T load_at(const std::byte* at, std::memory_order order = std::memory_order_relaxed) noexcept {
  // SAFETY: the caller checked bounds and alignment; guest memory has no declared type and is only accessed atomically
  // or by copy.
  return __atomic_load_n(reinterpret_cast<const T*>(at), static_cast<int>(order));
}

/// One access of a naturally aligned little-endian number. `order` must suit a store.
template <Scalar T>
inline void store_at(std::byte* at, T value, std::memory_order order = std::memory_order_relaxed) noexcept {
  // SAFETY: as in load_at.
  __atomic_store_n(reinterpret_cast<T*>(at), value, static_cast<int>(order));
}

/// Read exactly once, at any alignment; no promise that it comes in one access.
template <Scalar T>
[[nodiscard]] inline T load_unaligned_at(const std::byte* at) noexcept {
  struct [[gnu::packed, gnu::may_alias]] Word {
    T value;
  };
  // SAFETY: packed and may_alias: any alignment, any type beneath; volatile: no second read.
  return reinterpret_cast<const volatile Word*>(at)->value;
}

#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"  // it sees no fence; what it needs to see are the acquire and release beside it
#endif
/// A store before it is visible to the other side before a load after it happens: for "I wrote my index, does it want
/// to know?".
inline void full_fence() noexcept {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

[[nodiscard]] inline bool is_aligned(const std::byte* at, std::size_t alignment) noexcept {
  // SAFETY: only the number is looked at.
  return (reinterpret_cast<std::uintptr_t>(at) & (alignment - 1)) == 0;
}

namespace detail {

/// The whole copy as one access where size and alignment allow it.
template <Scalar T>
[[nodiscard]] inline bool copy_out_once(std::byte* out, const std::byte* at, std::size_t size) noexcept {
  if (size != sizeof(T)) return false;
  if (!is_aligned(at, sizeof(T))) [[unlikely]]
    return false;
  const T value = load_at<T>(at);
  std::memcpy(out, &value, sizeof(T));
  return true;
}

template <Scalar T>
[[nodiscard]] inline bool copy_in_once(std::byte* at, const std::byte* in, std::size_t size) noexcept {
  if (size != sizeof(T)) return false;
  if (!is_aligned(at, sizeof(T))) [[unlikely]]
    return false;
  T value;
  std::memcpy(&value, in, sizeof(T));
  store_at<T>(at, value);
  return true;
}

}  // namespace detail

/// Guest to host: 1, 2, 4 or 8 aligned bytes in one access, else a copy in no particular order.
[[gnu::always_inline]] inline void copy_out(std::byte* out, const std::byte* at, std::size_t size) noexcept {
  if (size <= 8) {
    if (detail::copy_out_once<std::uint64_t>(out, at, size) || detail::copy_out_once<std::uint32_t>(out, at, size) ||
        detail::copy_out_once<std::uint16_t>(out, at, size) || detail::copy_out_once<std::uint8_t>(out, at, size)) {
      return;
    }
  }
  if (size != 0) std::memcpy(out, at, size);
  std::atomic_signal_fence(std::memory_order_acq_rel);  // what was copied is what is used: none of it is read again
}

/// Host to guest, likewise.
inline void copy_in(std::byte* at, const std::byte* in, std::size_t size) noexcept {
  if (size <= 8) {
    if (detail::copy_in_once<std::uint64_t>(at, in, size) || detail::copy_in_once<std::uint32_t>(at, in, size) ||
        detail::copy_in_once<std::uint16_t>(at, in, size) || detail::copy_in_once<std::uint8_t>(at, in, size)) {
      return;
    }
  }
  if (size != 0) std::memcpy(at, in, size);
}

/// An object in guest memory, to be copied out to where it is kept, as what a Result holds is made from this: a second
/// copy would wait for the first one's bytes to be stored.
template <Plain T>
struct ObjectAt {
  const std::byte* at;

  // NOLINTNEXTLINE(google-explicit-constructor): that is its use.
  [[gnu::always_inline]] operator T() const noexcept {
    T object;  // NOLINT(*-init-variables, *-member-init): all of it is copied in
    // SAFETY: only its bytes are written.
    copy_out(reinterpret_cast<std::byte*>(&object), at, sizeof(T));
    return object;
  }
};

}  // namespace trivet::memory
