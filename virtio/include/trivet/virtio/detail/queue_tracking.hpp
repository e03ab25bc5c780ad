// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <trivet/memory/access.hpp>
#include <trivet/virtio/abi/split_ring.hpp>
#include <trivet/virtio/detail/packed_ring.hpp>

namespace trivet::virtio::detail {

/// What a queue keeps of each chain in flight where a split ring alone does not tell it: all of a packed ring's, whose
/// descriptors are copied out, and the order with VIRTIO_F_IN_ORDER. Nothing is allocated after it is made.
///
/// A chain goes by its token, which is its Chain's id: of a split ring the head, of a packed one its first entry in
/// `table`. The driver's buffer ids are echoed and never used.
struct QueueTracking {
  enum class State : std::uint8_t {
    idle,
    popped,
    done,  // in order only: pushed, but not all before it
  };
  /// Of one chain, by its token.
  struct Record {
    std::uint32_t written = 0;      // once done
    std::uint16_t buffer_id = 0;    // packed: the driver's
    std::uint16_t descriptors = 0;  // packed: of the ring
    std::uint16_t last = 0;         // packed: its last entry in the table
    std::uint16_t turn = 0;         // where it stands in `order`
    State state = State::idle;
  };

  QueueTracking(std::uint16_t queue_size, std::uint64_t features, std::uint16_t first_available,
                std::uint16_t first_used)
      : packed((features & abi::f_ring_packed) != 0),
        in_order((features & abi::f_in_order) != 0),
        size(queue_size),
        records(queue_size),
        order(queue_size),
        available(first_available),
        used(first_used),
        published(first_used) {
    if (!packed) return;
    table.resize(std::size_t{16} * size);
    for (std::uint16_t i = 0; i < size; ++i) set_rest(i, std::uint64_t{i + 1U} << 48);
    free_entries = size;
  }

  bool packed;
  bool in_order;
  bool kicks_disabled = false;  // packed: what the device's event suppression structure says
  std::uint16_t size;
  std::uint64_t generation = 0;      // of the memory map, which the queue itself does not keep then
  std::vector<Record> records;       // by token
  std::vector<std::uint16_t> order;  // the tokens as they were popped, round and round
  std::uint16_t next_turn = 0;
  std::uint16_t oldest_turn = 0;  // in order: of those not handed to the ring
  std::uint16_t waiting = 0;      // in order: how many those are

  /// \name Places in the ring: packed with their wrap counter, or an index; of split rings `available` is the queue's
  /// @{
  std::uint16_t available;  // the next to pop
  std::uint16_t used;       // the next to hand over
  std::uint16_t published;  // as the driver sees it
  /// @}

  // Packed only.
  PackedRing ring;
  std::vector<std::byte> table;  // chains in flight in split form; entries that are free make a list by their `next`
  std::uint16_t first_free = 0;
  std::uint16_t free_entries = 0;
  std::uint16_t first_flags = 0;  // of the first used descriptor that is not published: they make all visible
  std::uint32_t staged = 0;       // descriptors handed over and not published

  [[nodiscard]] std::uint16_t turn_after(std::uint16_t turn) const noexcept {
    return turn + 1U == size ? std::uint16_t{0} : static_cast<std::uint16_t>(turn + 1);
  }
  [[nodiscard]] std::uint16_t turn_before(std::uint16_t turn) const noexcept {
    return static_cast<std::uint16_t>((turn == 0 ? size : turn) - 1);
  }

  /// The chain takes its turn.
  void enter(std::uint16_t token) noexcept {
    Record& record = records[token];
    record.turn = next_turn;
    record.state = State::popped;
    order[next_turn] = token;
    next_turn = turn_after(next_turn);
    if (in_order) ++waiting;
  }

  [[nodiscard]] std::uint64_t rest(std::uint16_t entry) const noexcept {
    return memory::load_at<std::uint64_t>(table.data() + std::size_t{16} * entry + 8);
  }
  void set_address(std::uint16_t entry, std::uint64_t address) noexcept {
    memory::store_at<std::uint64_t>(table.data() + std::size_t{16} * entry, address);
  }
  void set_rest(std::uint16_t entry, std::uint64_t rest) noexcept {
    memory::store_at<std::uint64_t>(table.data() + std::size_t{16} * entry + 8, rest);
  }
  [[nodiscard]] std::uint16_t next_of(std::uint16_t entry) const noexcept {
    return static_cast<std::uint16_t>(rest(entry) >> 48);
  }

  /// The chain's entries are free again.
  void release(std::uint16_t token) noexcept {
    Record& record = records[token];
    record.state = State::idle;
    if (!packed) return;
    set_rest(record.last, std::uint64_t{first_free} << 48);
    first_free = token;
    free_entries = static_cast<std::uint16_t>(free_entries + record.descriptors);
  }
};

}  // namespace trivet::virtio::detail
