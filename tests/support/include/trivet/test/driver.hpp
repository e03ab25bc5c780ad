// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/bytes.hpp>
#include <trivet/memory/guest_memory.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/virtio/abi/packed_ring.hpp>
#include <trivet/virtio/abi/split_ring.hpp>
#include <trivet/virtio/queue.hpp>

namespace trivet::test {

/// Where a test's guest memory is: the device must not tell the difference.
enum class Pages : std::uint8_t {
  host,       ///< this process's own
  granted,    ///< another domain's, mapped at once
  on_demand,  ///< another domain's, mapped for the access
};
/// Those that this build has.
std::vector<Pages> all_pages();
std::string to_string(Pages pages);

/// A guest's memory for a test: one region from `start`, and an allocator for what a driver places in it.
class TestGuest {
 public:
  static constexpr std::uint64_t default_size = std::uint64_t{4} << 20;

  /// Tracks what is dirty in memory of the host's only.
  explicit TestGuest(std::uint64_t size = default_size, GuestAddress start = {0}, bool track_dirty = false,
                     Pages pages = Pages::host);

  [[nodiscard]] const std::shared_ptr<memory::MemoryMap>& map() const noexcept { return map_; }
  [[nodiscard]] const memory::GuestMemory& memory() const noexcept { return *memory_; }

  /// Never address 0; ends the program when memory is out.
  GuestAddress allocate(std::uint64_t size, std::uint64_t alignment = 16);

  /// Allocates and fills.
  GuestAddress place(ConstBytes content);
  GuestAddress place(std::string_view content);
  [[nodiscard]] std::string text(GuestAddress at, std::uint64_t size) const;

 private:
  std::shared_ptr<memory::MemoryMap> map_;
  std::shared_ptr<const memory::GuestMemory> memory_;
  std::uint64_t next_;
  std::uint64_t end_;
};

/// A descriptor as a driver writes it: every field at will, so that a hostile one can be written too. In a packed ring
/// and its tables `next` is the buffer id.
struct RawDescriptor {
  std::uint64_t address = 0;
  std::uint32_t length = 0;
  std::uint16_t flags = 0;
  std::uint16_t next = 0;
};

/// What the device gave back.
struct Used {
  std::uint32_t id = 0;
  std::uint32_t written = 0;
  friend bool operator==(const Used&, const Used&) = default;
};

/// The driver's side of a virtqueue, split or, with VIRTIO_F_RING_PACKED, packed, as faithful as Linux's: free list,
/// direct and indirect chains, both notification schemes with their barriers. With VIRTIO_F_IN_ORDER it ends the
/// program when chains come back in another order. Its raw part writes what a hostile driver would. Thread rule: one
/// thread; the device's side may run on another at the same time.
class Driver {
 public:
  struct Buffer {
    GuestAddress address;
    std::uint32_t length = 0;
    bool writable = false;
  };
  using Buffers = std::span<const Buffer>;

  /// Of a split ring.
  static constexpr std::uint64_t all_features = virtio::abi::f_event_idx | virtio::abi::f_indirect_desc;
  static constexpr std::uint64_t packed_features = all_features | virtio::abi::f_ring_packed;
  /// All that this driver can follow.
  static constexpr std::uint64_t known_features = packed_features | virtio::abi::f_in_order;

  /// Places an empty ring whose indices begin at `first_index`, or where a fresh ring's do.
  Driver(TestGuest& guest, std::uint16_t size, std::uint64_t features = all_features,
         std::optional<std::uint16_t> first_index = std::nullopt);

  /// What the device is told.
  [[nodiscard]] virtio::QueueConfig config() const noexcept;
  /// `Queue::create` of that; ends the program on an error.
  [[nodiscard]] virtio::Queue queue() const;

  [[nodiscard]] std::uint16_t size() const noexcept { return size_; }
  [[nodiscard]] bool packed() const noexcept { return (features_ & virtio::abi::f_ring_packed) != 0; }
  /// Descriptors of the ring that are free.
  [[nodiscard]] std::uint16_t free() const noexcept {
    return packed() ? free_descriptors_ : static_cast<std::uint16_t>(free_.size());
  }

  /// Makes a chain available; its head, or of a packed ring its buffer id: what comes back in Used. Nothing when the
  /// ring has no room.
  std::optional<std::uint16_t> add(Buffers buffers);
  std::optional<std::uint16_t> add(std::initializer_list<Buffer> buffers) { return add(Buffers(buffers)); }
  /// The same through an indirect table; takes one descriptor.
  std::optional<std::uint16_t> add_indirect(Buffers buffers);
  std::optional<std::uint16_t> add_indirect(std::initializer_list<Buffer> buffers) {
    return add_indirect(Buffers(buffers));
  }
  /// The first `direct` buffers in the ring, the others in an indirect table that ends the chain. In a packed ring all
  /// or none.
  std::optional<std::uint16_t> add_mixed(Buffers buffers, std::size_t direct);

  /// Whether the device wants a kick for what was added since the last call (2.7.10).
  bool must_kick();

  /// The next chain that came back; its descriptors are free again.
  std::optional<Used> take_used();
  /// Asks for a notification after `more` further chains (EVENT_IDX; of a packed ring descriptors), or at the next.
  /// True when used ones are there already.
  bool enable_notifications(std::uint16_t more = 0);
  void disable_notifications();

  /// \name The ring itself
  /// @{
  void set_descriptor(std::uint16_t index, const RawDescriptor& descriptor) {
    put_descriptor(descriptors_, index, descriptor);
  }
  GuestAddress place_table(std::span<const RawDescriptor> descriptors);
  /// One chain of these, available: in the first descriptors of a split ring, at the next place of a packed one, with
  /// the bits that say available besides `flags`. The driver keeps no account of it.
  void offer(std::span<const RawDescriptor> descriptors);
  void offer(std::initializer_list<RawDescriptor> descriptors) {
    offer(std::span(descriptors.begin(), descriptors.end()));
  }
  void make_available(std::uint16_t head);
  void set_available_index(std::uint16_t index);
  void set_available_entry(std::uint16_t slot, std::uint16_t head);
  void set_available_flags(std::uint16_t flags);
  void set_used_event(std::uint16_t index);
  [[nodiscard]] std::uint16_t available_index() const noexcept { return available_index_; }
  /// How many chains came back since the ring was made, taken or not; of a split ring the index itself.
  [[nodiscard]] std::uint16_t used_index() const;
  [[nodiscard]] std::uint16_t used_flags() const;
  [[nodiscard]] std::uint16_t available_event() const;
  [[nodiscard]] Used used_entry(std::uint16_t slot) const;
  /// Packed: the next place, and what the event suppression structures hold, flags in the upper half.
  [[nodiscard]] std::uint16_t next_place() const noexcept { return next_place_; }
  [[nodiscard]] std::uint32_t device_event() const;
  void set_driver_event(std::uint16_t place, std::uint16_t flags);
  [[nodiscard]] GuestAddress descriptor_area() const noexcept { return descriptors_; }
  [[nodiscard]] GuestAddress driver_area() const noexcept { return avail_; }
  [[nodiscard]] GuestAddress device_area() const noexcept { return used_; }
  /// @}

 private:
  /// An indirect table kept for reuse, as drivers do.
  struct Table {
    GuestAddress address;
    std::size_t entries = 0;
  };

  GuestAddress table_of(std::uint16_t descriptor, std::size_t entries);
  void put_descriptor(GuestAddress table, std::uint16_t index, const RawDescriptor& descriptor);
  void release_chain(std::uint16_t head);
  void came_back(std::uint16_t id);
  void set_up_split();

  // driver_packed.cpp
  void set_up_packed();
  std::optional<std::uint16_t> add_packed(Buffers buffers, bool indirect);
  void put_packed(std::uint16_t place, const RawDescriptor& descriptor, bool visible);
  void expose(std::uint16_t place, std::uint16_t flags);
  bool must_kick_packed();
  [[nodiscard]] bool is_used(std::uint16_t place) const;
  std::optional<Used> take_used_packed();
  [[nodiscard]] std::uint16_t used_index_packed() const;

  TestGuest* guest_;
  std::uint16_t size_;
  std::uint64_t features_;
  std::uint16_t first_index_;
  GuestAddress descriptors_, avail_, used_;
  std::vector<std::uint16_t> free_;
  std::vector<std::vector<std::uint16_t>> chains_;  // by head: the descriptors it took
  std::vector<Table> tables_;                       // by the descriptor that refers to it
  std::uint16_t available_index_;
  std::uint16_t kicked_at_;
  std::uint16_t last_used_;             // packed: its place
  std::deque<std::uint16_t> in_order_;  // with IN_ORDER: what has to come back next

  // Packed only; free_ holds the free buffer ids, chains_ of each id as many entries as it took.
  std::uint16_t next_place_ = 0;
  std::uint16_t free_descriptors_ = 0;
  std::uint32_t added_ = 0;  // descriptors since must_kick
  std::uint16_t taken_ = 0;  // chains
};

/// The rings that a test runs over.
struct RingKind {
  const char* name;
  std::uint64_t features;
};
inline constexpr RingKind split_ring{"split", Driver::all_features};
inline constexpr RingKind packed_ring{"packed", Driver::packed_features};
inline constexpr RingKind split_in_order{"split_in_order", Driver::all_features | virtio::abi::f_in_order};
inline constexpr RingKind packed_in_order{"packed_in_order", Driver::packed_features | virtio::abi::f_in_order};

/// A ring in some memory.
struct RingPlace {
  Pages pages;
  RingKind ring;
};
/// Each of these rings in each memory that this build has.
std::vector<RingPlace> places_of(std::initializer_list<RingKind> rings);
std::string to_string(const RingPlace& place);
inline void PrintTo(const RingPlace& place, std::ostream* out) {
  *out << to_string(place);
}

}  // namespace trivet::test
