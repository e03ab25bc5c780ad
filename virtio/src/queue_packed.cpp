// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/virtio/queue.hpp>

// The packed ring (virtio 1.2, 2.8).

namespace trivet::virtio {

/// Copies the next chain's descriptors into the queue's own table, in the form that a split ring's have, so that a
/// Chain walks both alike, and nothing that the driver changes afterwards counts.
std::uint32_t Queue::pop_packed() {
  detail::QueueTracking& tracking = *tracking_;
  const detail::PackedRing& ring = tracking.ring;
  if (!ring.is_available(tracking.available)) return no_chain;
  constexpr unsigned kept = abi::desc_f_next | abi::desc_f_write | abi::desc_f_indirect;
  // What is staged is the driver's already, but it cannot know that.
  const std::uint32_t room = tracking.free_entries - tracking.staged;
  const std::uint16_t token = tracking.first_free;
  std::uint16_t place = tracking.available;
  std::uint16_t entry = token;
  std::uint16_t next = token;
  for (std::uint32_t count = 0; count < room;) {
    entry = next;
    next = tracking.next_of(entry);
    const auto rest = ring.rest(place);
    const std::uint64_t flags = rest.flags() & kept;
    tracking.set_address(entry, ring.address(place));
    tracking.set_rest(entry, rest.length() | flags << 32 | std::uint64_t{next} << 48);
    ++count;
    place = abi::packed_after(place, 1, config_.size);
    if ((flags & abi::desc_f_next) != 0) continue;
    auto& record = tracking.records[token];
    record.buffer_id = rest.id();  // 2.8.6: the last one's
    record.descriptors = static_cast<std::uint16_t>(count);
    record.last = entry;
    tracking.first_free = next;
    tracking.free_entries = static_cast<std::uint16_t>(tracking.free_entries - count);
    tracking.available = place;
    tracking.enter(token);
    ++next_available_;
    return token;
  }
  return fail_pop(more_than_is_free(room));
}

Fault Queue::more_than_is_free(std::uint32_t room) const noexcept {
  return {Rule::more_than_is_free,
          false,
          config_.index,
          {tracking_->available, static_cast<std::uint16_t>(room), config_.size, 0},
          0};
}

bool Queue::wanted_by_packed_driver(std::uint64_t since) const noexcept {
  const detail::QueueTracking& tracking = *tracking_;
  const std::uint32_t event = tracking.ring.driver_event();
  const auto flags = static_cast<std::uint16_t>(event >> 16) & abi::ring_event_flags_mask;
  if (flags == abi::ring_event_flags_disable) return false;
  // What is reserved, and without EVENT_IDX DESC is, is taken as a yes.
  if (flags != abi::ring_event_flags_desc || (config_.features & abi::f_event_idx) == 0) return true;
  return abi::packed_need_event(static_cast<std::uint16_t>(event), tracking.published, since, config_.size);
}

void Queue::disable_packed_kicks() noexcept {
  if (tracking_->kicks_disabled) return;
  tracking_->ring.set_device_event(0, abi::ring_event_flags_disable);
  tracking_->kicks_disabled = true;
}

bool Queue::enable_packed_kicks() noexcept {
  const detail::QueueTracking& tracking = *tracking_;
  const bool event_idx = (config_.features & abi::f_event_idx) != 0;
  tracking.ring.set_device_event(tracking.available,
                                 event_idx ? abi::ring_event_flags_desc : abi::ring_event_flags_enable);
  tracking_->kicks_disabled = false;
  memory::full_fence();  // the wish before the look: pairs with the driver's own
  return tracking.ring.is_available(tracking.available);
}

}  // namespace trivet::virtio
