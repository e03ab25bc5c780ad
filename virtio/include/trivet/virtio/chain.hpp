// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include <trivet/core/address.hpp>
#include <trivet/memory/access.hpp>
#include <trivet/memory/build.hpp>
#include <trivet/memory/guest_memory.hpp>
#include <trivet/virtio/abi/split_ring.hpp>
#include <trivet/virtio/fault.hpp>

namespace trivet::virtio {

/// One buffer of a chain, copied out of guest memory: what was checked is what is used.
struct Descriptor {
  GuestAddress address;      ///< not checked yet: memory checks it at the access
  std::uint32_t length = 0;  ///< bytes; may be 0
  bool writable = false;     ///< the device writes it; else it reads it

  friend bool operator==(const Descriptor&, const Descriptor&) = default;
};

/// A chain of descriptors that the driver made available: a cursor over it, and a cheap value (a copy goes on where it
/// stands).
///
/// Each step is a result. A rule of virtio 1.2, 2.7 that the chain breaks gives `malformed` (guest) with the queue, the
/// head, the descriptor and the rule; it never looks like an end. The walk is bounded by the queue size. Valid until
/// its id is given back (`Queue::push_used`, `go_back`), and while its Queue lives. Thread rule: a value; may be handed
/// to another thread.
class Chain {
 public:
  /// What `Queue::push_used` wants back: of a split ring the head, of a packed one the queue's own number.
  [[nodiscard]] std::uint16_t id() const noexcept { return origin_.head(); }
  /// The index of the queue it came from.
  [[nodiscard]] unsigned queue() const noexcept { return origin_.queue(); }
  [[nodiscard]] const memory::GuestMemory& memory() const noexcept { return *origin_.memory; }

  /// The next buffer, nothing after the last one. Follows `next` and an indirect table; readable buffers come before
  /// writable ones. After an error it gives the same error again.
  Next<Descriptor> next() noexcept;

 private:
  friend struct Buffers;
  friend class Cursor;
  friend class Queue;

  enum class Step : std::uint8_t { descriptor, end, fault };

  /// Which table is walked. Entries of all but the first two take the rare way, `unusual_words`.
  enum class Table : std::uint8_t { ring, indirect, on_demand, packed, packed_on_demand };

  /// Where a chain begins: all that one takes to walk it. Three words, so that it is cheap to keep.
  struct Origin {
    const memory::GuestMemory* memory;
    const std::byte* table;  ///< a split ring's, or the queue's copies of a packed one's
    std::uint64_t numbers;   ///< those below, of which all but the head are the queue's

    static constexpr std::uint64_t pack(std::uint16_t queue, std::uint16_t size, bool indirect_allowed,
                                        bool packed) noexcept {
      return std::uint64_t{queue} << 16 | std::uint64_t{size} << 32 | std::uint64_t{indirect_allowed} << 48 |
             std::uint64_t{packed} << 49;
    }
    [[nodiscard]] std::uint16_t head() const noexcept { return static_cast<std::uint16_t>(numbers); }
    [[nodiscard]] std::uint16_t queue() const noexcept { return static_cast<std::uint16_t>(numbers >> 16); }
    [[nodiscard]] std::uint16_t size() const noexcept { return static_cast<std::uint16_t>(numbers >> 32); }
    [[nodiscard]] bool indirect_allowed() const noexcept { return (numbers >> 48 & 1) != 0; }
    [[nodiscard]] bool packed() const noexcept { return (numbers >> 49 & 1) != 0; }
  };

  Chain() noexcept {}  // NOLINT(modernize-use-equals-default): nothing yet, and nothing is written
  explicit Chain(const Origin& origin) noexcept
      : origin_(origin),
        table_(origin.table),
        bytes_(0),
        table_size_(origin.size()),
        left_(origin.size()),
        next_(origin.head()),
        flags_(abi::desc_f_next),
        unusual_entries_(0),
        rule_(Rule::none),
        kind_(Table::ring) {}

  Step step(Descriptor& out) noexcept;

  /// Goes on with the indirect table that a descriptor refers to. False: at fault.
  bool enter(std::uint64_t address, std::uint32_t length, std::uint32_t flags) noexcept;

  // What is rare gets numbers, not the chain or a part of it, so that a walk keeps the chain in registers.
  [[nodiscard]] static bool is_mapped_on_demand(const memory::GuestMemory& memory, std::uint64_t at,
                                                std::uint32_t bytes) noexcept;
  /// A descriptor as it lies in memory, or the rule that keeps it from being read, and then the value that broke it.
  struct Words {
    std::uint64_t address;
    std::uint64_t rest;
    Rule broken;
  };
  /// One of a table that is mapped on demand or packed (2.8.7), in the form that a split table has. table_size_ is 0
  /// then, so that the others pay nothing, and table_ holds the bits of a guest address where there is no host address.
  [[nodiscard]] static Words unusual_words(const memory::GuestMemory& memory, const std::byte* table, Table kind,
                                           std::uint32_t entries, std::uint32_t index) noexcept;
  [[nodiscard]] bool is_broken() const noexcept { return rule_ != Rule::none; }
  [[nodiscard]] Fault fault() const noexcept {
    return {rule_,
            kind_ != Table::ring,
            origin_.queue(),
            {origin_.head(), static_cast<std::uint16_t>(next_), 0, 0},
            bytes_};
  }
  Step fail(Rule rule, std::uint64_t value) noexcept {
    rule_ = rule;
    bytes_ = value;
    flags_ = 0;
    return Step::fault;
  }

  Origin origin_;
  const std::byte* table_;         // where the table that is walked lies in this process; or see unusual_words
  std::uint64_t bytes_;            // so far; after a fault, the value that broke the rule
  std::uint32_t table_size_;       // entries
  std::uint32_t left_;             // buffers that may still come
  std::uint32_t next_;             // after a fault, the descriptor that broke the rule
  std::uint32_t flags_;            // of the descriptor before: WRITE; NEXT unless the chain ended
  std::uint16_t unusual_entries_;  // of a table whose table_size_ is 0
  Rule rule_;
  Table kind_;
};

[[gnu::always_inline]] inline bool Chain::enter(std::uint64_t address, std::uint32_t length,
                                                std::uint32_t flags) noexcept {
  // The write flag of such a descriptor is ignored (2.7.5.3.2).
  const auto broken = [this](Rule rule, std::uint64_t value = 0) { return fail(rule, value) != Step::fault; };
  if (!origin_.indirect_allowed()) return broken(Rule::indirect_not_negotiated);
  if (kind_ != Table::ring) return broken(Rule::indirect_nested);
  if ((flags & abi::desc_f_next) != 0) return broken(Rule::indirect_with_next);
  if (origin_.packed() && left_ != origin_.size()) return broken(Rule::indirect_not_alone);
  if (length == 0) return broken(Rule::indirect_empty);
  if (length % sizeof(abi::VirtqDesc) != 0) return broken(Rule::indirect_ragged, length);
  const auto entries = length / std::uint32_t{sizeof(abi::VirtqDesc)};
  if (entries > abi::max_queue_size) return broken(Rule::indirect_too_long, entries);
  const auto table = origin_.memory->find({{address}, length}, memory::Permission::read);
  if (!table && !is_mapped_on_demand(*origin_.memory, address, length)) {
    return broken(Rule::indirect_outside_memory, address);
  }
  table_ = table ? table->host() : std::bit_cast<const std::byte*>(address);
  table_size_ = 0;
  unusual_entries_ = static_cast<std::uint16_t>(entries);
  if (origin_.packed()) {
    kind_ = table ? Table::packed : Table::packed_on_demand;
  } else if (table) [[likely]] {
    kind_ = Table::indirect;
    table_size_ = entries;
  } else {
    kind_ = Table::on_demand;
  }
  next_ = 0;
  return true;
}

[[gnu::always_inline]] inline Chain::Step Chain::step(Descriptor& out) noexcept {
  if ((flags_ & abi::desc_f_next) == 0) return rule_ == Rule::none ? Step::end : Step::fault;
  for (;;) {  // twice at most: what refers to an indirect table, then the table's first
    std::uint64_t address;
    std::uint64_t rest;
    if (next_ < table_size_) [[likely]] {
      const std::byte* at = table_ + std::size_t{16} * next_;
      address = memory::load_unaligned_at<std::uint64_t>(at);
      rest = memory::load_unaligned_at<std::uint64_t>(at + 8);
    } else {
      if (table_size_ != 0) return fail(Rule::next_beyond_table, next_);
      const Words words = unusual_words(*origin_.memory, table_, kind_, unusual_entries_, next_);
      if (words.broken != Rule::none) return fail(words.broken, words.address);
      address = words.address;
      rest = words.rest;
    }
    const auto length = static_cast<std::uint32_t>(rest);
    const auto flags = static_cast<std::uint32_t>(rest >> 32);
    if ((flags & abi::desc_f_indirect) != 0) [[unlikely]] {
      if (!enter(address, length, flags)) return Step::fault;
      continue;
    }
    if (left_ == 0) [[unlikely]]
      return fail(Rule::longer_than_queue, origin_.size());
    if ((flags_ & ~flags & abi::desc_f_write) != 0) [[unlikely]]
      return fail(Rule::readable_after_writable, 0);
    bytes_ += length;
    if (bytes_ > std::uint64_t{1} << 32) [[unlikely]]
      return fail(Rule::more_than_4_gib, bytes_);
    --left_;
    flags_ = flags;
    next_ = static_cast<std::uint32_t>(rest >> 48);
    out = {{address}, length, (flags & abi::desc_f_write) != 0};
    return Step::descriptor;
  }
}

[[gnu::always_inline]] inline Next<Descriptor> Chain::next() noexcept {
  Descriptor descriptor;
  switch (step(descriptor)) {
    case Step::descriptor:
      return descriptor;
    case Step::end:
      return {};
    case Step::fault:
      break;
  }
  return fault();
}

}  // namespace trivet::virtio
