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
  [[nodiscard]] std::uint16_t id() const noexcept { return head_; }
  /// The index of the queue it came from.
  [[nodiscard]] unsigned queue() const noexcept { return origin_->queue; }
  [[nodiscard]] const memory::GuestMemory& memory() const noexcept { return *origin_->memory; }

  /// The next buffer, nothing after the last one. Follows `next` and an indirect table; readable buffers come before
  /// writable ones. After an error it gives the same error again.
  Next<Descriptor> next() noexcept;

 private:
  friend struct Buffers;
  friend class Cursor;
  friend class Queue;

  enum class Step : std::uint8_t { descriptor, end, fault };

  /// Which table is walked. What is not `ring` or `indirect` is read in a rarer way.
  enum class Table : std::uint8_t { ring, indirect, on_demand, packed, packed_on_demand };

  /// Where the chains of a queue begin: all that one takes to walk them but the head. The queue keeps it for them.
  struct Origin {
    const memory::GuestMemory* memory;
    const std::byte* table;  ///< a split ring's, or the queue's copies of a packed one's
    std::uint16_t size;      ///< entries of the queue, and of that table
    std::uint16_t queue;
    bool indirect_allowed;
    bool packed;
  };

  static constexpr std::uint32_t entry_size = sizeof(abi::VirtqDesc);
  static constexpr std::uint64_t most_bytes = std::uint64_t{1} << 32;  // 2.7.5: of a chain

  Chain() noexcept {}  // NOLINT(modernize-use-equals-default): nothing yet, and nothing is written
  Chain(const Origin& origin, std::uint64_t head) noexcept
      : origin_(&origin),
        table_(origin.table),
        bytes_left_(most_bytes),
        table_end_(std::uint64_t{origin.size} * entry_size),
        next_(head * entry_size),
        left_(origin.size),
        flags_(abi::desc_f_next),
        head_(static_cast<std::uint16_t>(head)),
        rule_(Rule::none),
        kind_(Table::ring) {}

  /// What may follow in the walk that is under way.
  enum class Expects : std::uint8_t {
    as_before,  ///< a writable buffer after a writable one
    anything,   ///< no writable one came yet
    writable,   ///< one came
  };

  template <Expects expects = Expects::as_before>
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
  /// A descriptor of a table that is mapped on demand: `table` holds the bits of a guest address.
  [[nodiscard]] static Words words_on_demand(const memory::GuestMemory& memory, const std::byte* table,
                                             std::uint64_t at) noexcept;
  /// 2.8.7: the entries of a packed table follow one another, and WRITE is their only flag.
  [[nodiscard]] static constexpr std::uint64_t split_form(std::uint64_t rest, std::uint64_t after,
                                                          std::uint64_t end) noexcept {
    std::uint64_t flags = rest >> 48 & abi::desc_f_write;
    if (after != end) flags |= abi::desc_f_next | after / entry_size << 16;
    return static_cast<std::uint32_t>(rest) | flags << 32;
  }
  /// The same of a table that takes the rare way: one that is packed, or not in this process.
  [[nodiscard]] Words unusual_words() const noexcept;
  [[nodiscard]] bool is_broken() const noexcept { return rule_ != Rule::none; }
  [[nodiscard]] Fault fault() const noexcept {
    return {rule_,
            kind_ != Table::ring,
            origin_->queue,
            {head_, static_cast<std::uint16_t>(next_ / entry_size), 0, 0},
            bytes_left_};
  }
  Step fail(Rule rule, std::uint64_t value) noexcept {
    rule_ = rule;
    bytes_left_ = value;
    flags_ = 0;
    return Step::fault;
  }

  const Origin* origin_;
  const std::byte* table_;    // where the table that is walked lies in this process; or see words_on_demand
  std::uint64_t bytes_left_;  // that may still come; after a fault, the value that broke the rule
  std::uint64_t table_end_;   // behind its last entry, in bytes; of one that takes the rare way << 32
  std::uint64_t next_;        // in the table, in bytes; after a fault, of the descriptor that broke the rule
  std::uint32_t left_;        // buffers that may still come
  std::uint32_t flags_;       // of the descriptor before: WRITE; NEXT unless the chain ended
  std::uint16_t head_;
  Rule rule_;
  Table kind_;
};

[[gnu::always_inline]] inline Chain::Words Chain::unusual_words() const noexcept {
  const std::uint64_t end = table_end_ >> 32;
  if (next_ >= end) return {next_ / entry_size, 0, Rule::next_beyond_table};
  Words words{};
  if (!memory::maps_on_demand || kind_ == Table::packed) {  // then nothing is called
    const std::byte* at = table_ + next_;
    words = {memory::load_unaligned_at<std::uint64_t>(at), memory::load_unaligned_at<std::uint64_t>(at + 8),
             Rule::none};
  } else {
    words = words_on_demand(*origin_->memory, table_, next_);
  }
  if (kind_ != Table::on_demand) words.rest = split_form(words.rest, next_ + entry_size, end);
  return words;
}

[[gnu::always_inline]] inline bool Chain::enter(std::uint64_t address, std::uint32_t length,
                                                std::uint32_t flags) noexcept {
  // The write flag of such a descriptor is ignored (2.7.5.3.2).
  const auto broken = [this](Rule rule, std::uint64_t value = 0) { return fail(rule, value) != Step::fault; };
  if (!origin_->indirect_allowed) return broken(Rule::indirect_not_negotiated);
  if (kind_ != Table::ring) return broken(Rule::indirect_nested);
  if ((flags & abi::desc_f_next) != 0) return broken(Rule::indirect_with_next);
  if (origin_->packed && left_ != origin_->size) return broken(Rule::indirect_not_alone);
  if (length == 0) return broken(Rule::indirect_empty);
  if (length % entry_size != 0) return broken(Rule::indirect_ragged, length);
  if (length / entry_size > abi::max_queue_size) return broken(Rule::indirect_too_long, length / entry_size);
  const auto table = origin_->memory->find({{address}, length}, memory::Permission::read);
  if (!table && !is_mapped_on_demand(*origin_->memory, address, length)) {
    return broken(Rule::indirect_outside_memory, address);
  }
  table_ = table ? table->host() : std::bit_cast<const std::byte*>(address);
  table_end_ = std::uint64_t{length} << 32;
  if (origin_->packed) {
    kind_ = table ? Table::packed : Table::packed_on_demand;
  } else if (table) [[likely]] {
    kind_ = Table::indirect;
    table_end_ = length;
  } else {
    kind_ = Table::on_demand;
  }
  next_ = 0;
  return true;
}

template <Chain::Expects expects>
[[gnu::always_inline]] inline Chain::Step Chain::step(Descriptor& out) noexcept {
  if ((flags_ & abi::desc_f_next) == 0) return rule_ == Rule::none ? Step::end : Step::fault;
  for (;;) {  // twice at most: what refers to an indirect table, then the table's first
    std::uint64_t address;
    std::uint64_t rest;
    if (next_ < static_cast<std::uint32_t>(table_end_)) [[likely]] {
      const std::byte* at = table_ + next_;
      address = memory::load_unaligned_at<std::uint64_t>(at);
      rest = memory::load_unaligned_at<std::uint64_t>(at + 8);
    } else {
      if (static_cast<std::uint32_t>(table_end_) != 0) return fail(Rule::next_beyond_table, next_ / entry_size);
      const Words words = unusual_words();
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
    if (left_-- == 0) [[unlikely]]
      return fail(Rule::longer_than_queue, origin_->size);
    const auto before = expects == Expects::as_before ? flags_ : std::uint32_t{abi::desc_f_write};
    if (expects != Expects::anything && (before & ~flags & abi::desc_f_write) != 0) [[unlikely]]
      return fail(Rule::readable_after_writable, 0);
    if (__builtin_sub_overflow(bytes_left_, std::uint64_t{length}, &bytes_left_)) [[unlikely]]
      return fail(Rule::more_than_4_gib, most_bytes - bytes_left_);
    flags_ = flags;
    next_ = rest >> 44 & 0xffff0;  // times entry_size
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
