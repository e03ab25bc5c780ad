// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/access.hpp>
#include <trivet/memory/build.hpp>
#include <trivet/memory/guest_memory.hpp>
#include <trivet/virtio/abi/split_ring.hpp>

namespace trivet::virtio {

/// One buffer of a chain, copied out of guest memory: what was checked is what is used.
struct Descriptor {
  GuestAddress address;      ///< not checked yet: memory checks it at the access
  std::uint32_t length = 0;  ///< bytes; may be 0
  bool writable = false;     ///< the device writes it; else it reads it

  friend bool operator==(const Descriptor&, const Descriptor&) = default;
};

/// A chain of descriptors that the driver made available: a cursor over it, and a cheap value (a copy starts where it
/// stands).
///
/// Each step is a result. A rule of virtio 1.2, 2.7 that the chain breaks gives `malformed` (guest) with the queue, the
/// head, the descriptor and the rule; it never looks like an end. The walk is bounded by the queue size. Valid until
/// its id is given back (`Queue::push_used`, `go_back`), and while its Queue lives. Thread rule: a value; may be handed
/// to another thread.
class Chain {
 public:
  /// The head: what `Queue::push_used` wants back.
  [[nodiscard]] std::uint16_t id() const noexcept { return head_; }
  /// The index of the queue it came from.
  [[nodiscard]] unsigned queue() const noexcept { return queue_; }
  [[nodiscard]] const memory::GuestMemory& memory() const noexcept { return *memory_; }

  /// The next buffer, nothing after the last one. Follows `next` and an indirect table; readable buffers come before
  /// writable ones. After an error it gives the same error again.
  [[nodiscard]] Result<std::optional<Descriptor>> next() noexcept;

 private:
  friend class Cursor;
  friend class Queue;

  enum class Step : std::uint8_t { descriptor, end, fault };

  /// What a chain can break.
  enum class Rule : std::uint8_t {
    none,
    next_beyond_table,
    longer_than_queue,
    more_than_4_gib,
    readable_after_writable,
    indirect_not_negotiated,
    indirect_nested,
    indirect_with_next,
    indirect_empty,
    indirect_ragged,
    indirect_too_long,
    indirect_outside_memory,
    changed,
  };

  Chain(const memory::GuestMemory* memory, const std::byte* table, std::uint16_t size, std::uint16_t head,
        std::uint16_t queue, bool indirect_allowed) noexcept
      : memory_(memory),
        table_(table),
        table_size_(size),
        left_(size),
        queue_size_(size),
        head_(head),
        next_(head),
        queue_(queue),
        indirect_allowed_(indirect_allowed) {}

  Step step(Descriptor& out) noexcept;

  // What is rare takes the chain by value, so that a walk keeps it in registers.
  [[nodiscard]] static Chain failed(Chain chain, Rule rule, std::uint64_t value) noexcept;
  [[nodiscard]] static Chain entered(Chain chain, std::uint64_t address, std::uint32_t length,
                                     std::uint16_t flags) noexcept;
  /// A descriptor as it lies in memory, or the rule that keeps it from being read, and then the value that broke it.
  struct Words {
    std::uint64_t address;
    std::uint64_t rest;
    Rule broken;
  };
  /// The next one of a table that is mapped on demand. Such a table has no host address: table_ holds the bits of its
  /// guest address and table_size_ is 0, so that the others pay nothing.
  [[nodiscard]] static Words mapped_words(Chain chain) noexcept;
  [[nodiscard]] static Error fault(Chain chain) noexcept;
  Step fail(Rule rule, std::uint64_t value) noexcept {
    *this = failed(*this, rule, value);
    return Step::fault;
  }

  const memory::GuestMemory* memory_;
  const std::byte* table_;    // where the table that is walked lies in this process; or see mapped_words
  std::uint64_t bytes_ = 0;   // so far; after a fault, the value that broke the rule
  std::uint32_t table_size_;  // entries
  std::uint16_t left_;        // buffers that may still come
  std::uint16_t queue_size_;
  std::uint16_t head_;
  std::uint16_t next_;  // after a fault, the descriptor that broke the rule
  std::uint16_t queue_;
  Rule rule_ = Rule::none;
  bool indirect_allowed_;
  bool in_indirect_ = false;
  bool writable_ = false;  // a writable buffer has come
  bool ended_ = false;
  std::uint16_t mapped_entries_ = 0;  // of a table that is mapped on demand
};

[[gnu::always_inline]] inline Chain::Step Chain::step(Descriptor& out) noexcept {
  if (ended_) return rule_ == Rule::none ? Step::end : Step::fault;
  for (;;) {  // twice at most: what refers to an indirect table, then the table's first
    std::uint64_t address;
    std::uint64_t rest;
    if (next_ < table_size_) [[likely]] {
      const std::byte* at = table_ + std::size_t{16} * next_;
      address = memory::load_unaligned_at<std::uint64_t>(at);
      rest = memory::load_unaligned_at<std::uint64_t>(at + 8);
    } else {
      if (!memory::maps_on_demand || table_size_ != 0) return fail(Rule::next_beyond_table, next_);
      const Words words = mapped_words(*this);
      if (words.broken != Rule::none) return fail(words.broken, words.address);
      address = words.address;
      rest = words.rest;
    }
    const auto length = static_cast<std::uint32_t>(rest);
    const auto flags = static_cast<std::uint16_t>(rest >> 32);
    if ((flags & abi::desc_f_indirect) != 0) [[unlikely]] {
      *this = entered(*this, address, length, flags);
      if (rule_ != Rule::none) return Step::fault;
      continue;
    }
    const bool writable = (flags & abi::desc_f_write) != 0;
    if (left_ == 0) [[unlikely]]
      return fail(Rule::longer_than_queue, queue_size_);
    if (writable_ && !writable) [[unlikely]]
      return fail(Rule::readable_after_writable, 0);
    bytes_ += length;
    if (bytes_ > std::uint64_t{1} << 32) [[unlikely]]
      return fail(Rule::more_than_4_gib, bytes_);
    --left_;
    writable_ = writable;
    ended_ = (flags & abi::desc_f_next) == 0;
    next_ = static_cast<std::uint16_t>(rest >> 48);
    out = {{address}, length, writable};
    return Step::descriptor;
  }
}

[[gnu::always_inline]] inline Result<std::optional<Descriptor>> Chain::next() noexcept {
  Descriptor descriptor;
  switch (step(descriptor)) {
    case Step::descriptor:
      return std::optional<Descriptor>(descriptor);
    case Step::end:
      return std::optional<Descriptor>();
    case Step::fault:
      break;
  }
  return fault(*this);
}

}  // namespace trivet::virtio
