// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include <trivet/core/error.hpp>

namespace trivet::virtio {

/// What a driver can break in a ring or in a chain.
enum class Rule : std::uint8_t {
  none,
  // of the ring
  memory_gone,
  available_index_jumps,
  head_beyond_table,
  head_in_flight,
  more_than_is_free,
  // of a chain
  next_beyond_table,
  longer_than_queue,
  more_than_4_gib,
  readable_after_writable,
  indirect_not_negotiated,
  indirect_nested,
  indirect_with_next,
  indirect_not_alone,
  indirect_empty,
  indirect_ragged,
  indirect_too_long,
  indirect_outside_memory,
  changed,
};

/// A broken rule with the numbers that broke it: all that its Error is made of once somebody asks. Small, so that what
/// may fail on a hot path returns in registers. Thread rule: a value.
struct Fault {
  Rule rule = Rule::none;
  bool indirect = false;  ///< the descriptor is one of an indirect table
  std::uint16_t queue = 0;
  std::array<std::uint16_t, 4> numbers{};  ///< of a chain: its head and the descriptor; of the ring: see fault.cpp
  std::uint64_t value = 0;

  /// `malformed`, or `out_of_range` where the ring's memory is gone; blames the guest, names queue, place and rule.
  [[nodiscard, gnu::cold]] Error error() const noexcept;
};

/// What a step gives that may come to an end: the next one, nothing more, or a fault. It says, and is used for, what a
/// Result<std::optional<T>> would be, and has no room for an Error. Thread rule: a value.
template <class T>
class [[nodiscard]] Next {
 public:
  /// Nothing more.
  Next() noexcept = default;
  // NOLINTNEXTLINE(google-explicit-constructor): a value is returned as it stands.
  Next(const T& value) noexcept : next_(value) {}
  // NOLINTNEXTLINE(google-explicit-constructor): and so is a fault.
  Next(const Fault& fault) noexcept : fault_(fault) {}

  /// Whether it is no fault.
  [[nodiscard]] bool has_value() const noexcept { return fault_.rule == Rule::none; }
  explicit operator bool() const noexcept { return has_value(); }

  [[nodiscard]] const std::optional<T>& operator*() const noexcept { return next_; }
  [[nodiscard]] const std::optional<T>* operator->() const noexcept { return &next_; }

  /// Why not; of a fault only.
  [[nodiscard]] Error error() const noexcept { return fault_.error(); }

 private:
  std::optional<T> next_;
  Fault fault_;
};

}  // namespace trivet::virtio
