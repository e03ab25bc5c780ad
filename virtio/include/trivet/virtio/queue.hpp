// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/access.hpp>
#include <trivet/memory/guest_memory.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/memory/slice.hpp>
#include <trivet/virtio/abi/packed_ring.hpp>
#include <trivet/virtio/abi/split_ring.hpp>
#include <trivet/virtio/chain.hpp>
#include <trivet/virtio/detail/queue_tracking.hpp>
#include <trivet/virtio/detail/split_ring.hpp>
#include <trivet/virtio/fault.hpp>

namespace trivet::virtio {

/// What a driver negotiated for one queue, and how far it is: also its saved state (`Queue::config`), which `create`
/// validates. VIRTIO_F_RING_PACKED among the features makes it a packed ring.
struct QueueConfig {
  std::uint16_t index = 0;  ///< which queue of the device, for messages
  std::uint16_t size = 0;   ///< entries, at most `max_size`; of a split ring a power of two
  std::uint16_t max_size = static_cast<std::uint16_t>(abi::max_queue_size);
  GuestAddress descriptor_area;  ///< 16-byte aligned
  GuestAddress driver_area;      ///< split: the available ring, 2-byte aligned; packed: event suppression, 4-byte
  GuestAddress device_area;      ///< split: the used ring; packed: event suppression; 4-byte aligned
  std::uint64_t features = 0;    ///< negotiated; VIRTIO_F_INDIRECT_DESC, EVENT_IDX, RING_PACKED and IN_ORDER count
  /// The next available entry to take. Split: modulo 2^16; packed: its offset, and the wrap counter in bit 15.
  std::uint16_t next_available = 0;
  /// The next used entry to publish, in the same way.
  std::uint16_t next_used = 0;

  /// Where `next_available` and `next_used` of a ring begin that was never used.
  [[nodiscard]] static constexpr std::uint16_t first_index(std::uint64_t features) noexcept {
    return (features & abi::f_ring_packed) != 0 ? abi::packed_start : std::uint16_t{0};
  }

  friend bool operator==(const QueueConfig&, const QueueConfig&) = default;
};

/// The device's side of one virtqueue, split or packed (virtio 1.2, 2.7 and 2.8); a device sees no difference.
///
/// With VIRTIO_F_IN_ORDER (2.7.9, 2.8.8) a device may still push in any order: what was popped first goes to the ring
/// first, and what was pushed before it waits. The ring's host addresses are found once and again when the memory map
/// changes; the available index is read once a batch. Errors that blame the guest mean that the driver broke a rule:
/// the device stops and its home sets DEVICE_NEEDS_RESET. Thread rule: one thread at a time; a Chain may travel. `pop`,
/// `push_used` and the rest allocate nothing and lock nothing, but for the first call after a change of the memory map.
class Queue {
 public:
  /// `malformed` (guest) when the size is 0, of a split ring no power of two, or beyond `max_size`; a part is
  /// misaligned, not wholly in one region of memory or overlaps another (virtio 1.2, 2.7, 2.8.10.1); what the device
  /// writes is read-only; the indices are more than `size` apart, or of a packed ring beyond it; or, of a packed ring
  /// and with VIRTIO_F_IN_ORDER, something is in flight. `no_memory` (host).
  static Result<Queue> create(const QueueConfig& config, std::shared_ptr<const memory::MemoryMap> memory);

  Queue(Queue&&) noexcept = default;
  Queue& operator=(Queue&&) noexcept = default;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  ~Queue() = default;

  /// With the indices as they are now: enough to go on elsewhere once `in_flight` is 0 and `should_notify` was acted
  /// on.
  [[nodiscard]] QueueConfig config() const noexcept;
  [[nodiscard]] unsigned index() const noexcept { return config_.index; }
  [[nodiscard]] std::uint16_t size() const noexcept { return config_.size; }
  /// Chains popped and not yet pushed. At most `size`.
  [[nodiscard]] std::uint16_t in_flight() const noexcept {
    return static_cast<std::uint16_t>(next_available_ - next_used_);
  }
  /// The memory that the chains popped last refer to.
  [[nodiscard]] const std::shared_ptr<const memory::GuestMemory>& memory() const noexcept { return held_.memory; }

  /// The next chain, nothing when the driver has made none available. Takes it: it is in flight until pushed.
  /// `malformed` (guest): the available index is more than `size` ahead (2.7.6), or a head is no descriptor or, in
  /// order, in flight; a chain takes more of a packed ring than is free (2.8.17).
  /// `out_of_range` (guest): the ring's memory is gone.
  Next<Chain> pop();

  /// Returns the `count` chains popped last to the ring, the next `pop` gives them again. `bad_state` (caller): fewer
  /// are in flight, or, where that is known, these are not.
  Result<void> go_back(std::uint16_t count = 1);

  /// Gives a chain back to the driver, who sees it at once: `written` bytes from the start of its writable buffers.
  /// `out_of_range` (caller): no such id; `bad_state` (caller): nothing is in flight, or, where that is known (packed,
  /// in order), no chain of this id.
  Result<void> push_used(std::uint16_t id, std::uint32_t written);

  /// The same, but the driver sees it at the next `publish`: for batches.
  Result<void> stage_used(std::uint16_t id, std::uint32_t written);
  void publish() noexcept;

  /// Whether the driver wants a notification for what was published since the last call (2.7.7.2, 2.8.10). Call it
  /// after each batch and signal when true.
  [[nodiscard]] bool should_notify() noexcept;

  /// Asks the driver not to kick while the queue is being drained. A hint.
  void disable_kicks() noexcept;

  /// Asks for a kick at the next chain. True when some came meanwhile, for which no kick may come: drain again.
  [[nodiscard]] bool enable_kicks() noexcept;

 private:
  using RingSlices = std::array<memory::Slice, 3>;

  /// The memory that ring and chains lie in, what keeps the ring mapped, which goes before it, and where chains begin.
  struct Held {
    std::shared_ptr<const memory::GuestMemory> memory;
    RingSlices ring;
    std::unique_ptr<const Chain::Origin> origin;

    Held() = default;
    Held(Held&&) noexcept = default;
    Held& operator=(Held&& other) noexcept {
      std::swap(memory, other.memory);
      std::swap(ring, other.ring);
      std::swap(origin, other.origin);
      return *this;
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() = default;
  };

  Queue(const QueueConfig& config, std::shared_ptr<const memory::MemoryMap> map) noexcept;

  /// What a tracked queue keeps as `generation_`, so that it takes every rare way at no cost to the others.
  static constexpr std::uint64_t no_generation = ~std::uint64_t{0};

  /// Of a split ring.
  [[nodiscard]] bool has_event_idx() const noexcept {
    return (config_.features & (abi::f_event_idx | abi::f_ring_packed)) == abi::f_event_idx;
  }
  [[nodiscard]] bool is_packed() const noexcept { return tracking_ && tracking_->packed; }
  [[nodiscard]] bool memory_changed() const noexcept { return map_->generation() != generation_; }

  // What a pop gives, in a register: a result that a call writes would stay in memory for those without one too.
  static constexpr std::uint64_t no_chain = 0x10000;
  static constexpr std::uint64_t no_chain_but_fault = 0x20000;  // which is fault_
  /// The chain's id, or one of these.
  [[nodiscard]] std::uint64_t pop_split();
  /// The same after a change of memory, and of what is tracked.
  [[nodiscard, gnu::noinline]] std::uint64_t pop_rarely();
  std::uint64_t fail_pop(const Fault& fault) noexcept;
  /// False: `bad_push` says why.
  [[nodiscard, gnu::noinline]] bool stage_rarely(std::uint16_t id, std::uint32_t written);

  // Packed, in order, or both: queue_tracked.cpp and queue_packed.cpp.
  [[nodiscard]] std::uint64_t pop_in_order();
  [[nodiscard]] std::uint64_t pop_packed();
  [[nodiscard]] bool stage_tracked(std::uint16_t id, std::uint32_t written);
  void hand_over(std::uint16_t id, std::uint32_t written) noexcept;
  [[gnu::noinline]] void publish_tracked() noexcept;
  Result<void> go_back_tracked(std::uint16_t count);
  [[nodiscard]] bool wanted_by_packed_driver(std::uint64_t since) const noexcept;
  void disable_packed_kicks() noexcept;
  [[nodiscard]] bool enable_packed_kicks() noexcept;
  Result<void> track();
  /// Looks the ring up again if the memory map changed.
  [[nodiscard]] Fault follow_memory();

  [[nodiscard, gnu::cold]] Fault resolve();
  [[nodiscard, gnu::cold]] std::uint64_t bad_available_index() noexcept;
  [[nodiscard, gnu::cold]] std::uint64_t bad_head(std::uint16_t head) noexcept;
  [[nodiscard, gnu::cold]] Fault more_than_is_free(std::uint32_t room) const noexcept;
  [[nodiscard, gnu::cold]] Error bad_push(std::uint16_t id);
  [[nodiscard, gnu::cold]] Error bad_go_back(std::uint16_t count) const noexcept;

  detail::SplitRing ring_;
  std::uint64_t generation_ = 0;
  // Indices of a split ring; of a packed one only counts of chains. A tracked queue's published_ is next_used_ always.
  std::uint16_t next_available_;   // the next entry to pop
  std::uint16_t known_available_;  // the driver's index as last read
  std::uint16_t next_used_;        // the next entry to stage
  std::uint16_t published_;        // the used index as the driver sees it
  std::uint64_t unsignalled_ = 0;  // entries published since should_notify
  bool always_notify_once_;        // restored: the driver may still wait for what was published before
  QueueConfig config_;
  std::shared_ptr<const memory::MemoryMap> map_;
  Held held_;
  std::vector<Held> retired_;  // what chains in flight may still refer to
  std::unique_ptr<detail::QueueTracking> tracking_;
  Fault fault_;  // of the pop that failed last
};

[[gnu::always_inline]] inline std::uint64_t Queue::pop_split() {
  if (next_available_ == known_available_) {
    known_available_ = ring_.available_index();
    const auto ahead = static_cast<std::uint16_t>(known_available_ - next_available_);
    if (ahead == 0) return no_chain;
    if (ahead + in_flight() > config_.size) [[unlikely]]
      return bad_available_index();
  }
  const std::uint16_t head = ring_.available_head(next_available_);
  if (head >= config_.size) [[unlikely]]
    return bad_head(head);
  ++next_available_;
  return head;
}

[[gnu::always_inline]] inline Next<Chain> Queue::pop() {
  const std::uint64_t popped = memory_changed() ? pop_rarely() : pop_split();
  if (popped < no_chain) [[likely]]
    return Chain(*held_.origin, popped);
  if (popped == no_chain) return {};
  return fault_;
}

[[gnu::always_inline]] inline Result<void> Queue::stage_used(std::uint16_t id, std::uint32_t written) {
  if (memory_changed()) [[unlikely]] {
    if (!stage_rarely(id, written)) return bad_push(id);
    return {};
  }
  if (id >= config_.size || in_flight() == 0) [[unlikely]]
    return bad_push(id);
  ring_.set_used(next_used_, id, written);
  ++next_used_;
  return {};
}

[[gnu::always_inline]] inline void Queue::publish() noexcept {
  const auto count = static_cast<std::uint16_t>(next_used_ - published_);
  if (count == 0) [[unlikely]] {
    if (tracking_) publish_tracked();
    return;
  }
  held_.memory->release_idle();  // from now on the driver may take its buffers' pages back
  ring_.set_used_index(published_, next_used_);
  published_ = next_used_;
  unsignalled_ += count;
  if (in_flight() == 0 && !retired_.empty()) [[unlikely]]
    retired_.clear();
}

[[gnu::always_inline]] inline Result<void> Queue::push_used(std::uint16_t id, std::uint32_t written) {
  TRIVET_TRY(stage_used(id, written));
  publish();
  return {};
}

inline bool Queue::should_notify() noexcept {
  if (unsignalled_ == 0 && !always_notify_once_) return false;
  memory::full_fence();  // the used index before the driver's wish: pairs with the driver's own
  const auto since = std::exchange(unsignalled_, 0);
  if (std::exchange(always_notify_once_, false) || since >= 1U << 16) return true;
  if (!has_event_idx()) {
    if (is_packed()) return wanted_by_packed_driver(since);
    return (ring_.available_flags() & abi::avail_f_no_interrupt) == 0;
  }
  return abi::need_event(ring_.used_event(), published_, static_cast<std::uint16_t>(published_ - since));
}

}  // namespace trivet::virtio
