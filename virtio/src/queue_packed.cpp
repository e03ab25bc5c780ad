// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/virtio/queue.hpp>

// The packed ring (virtio 1.2, 2.8).

namespace trivet::virtio {

/// Copies the next chain's descriptors into the queue's own table, in the form that a split ring's have, so that a
/// Chain walks both alike, and nothing that the driver changes afterwards counts.
std::uint64_t Queue::pop_packed() {
  detail::QueueTracking& tracking = *tracking_;
  const detail::PackedRing& ring = tracking.ring;
  if (!ring.is_available(tracking.available)) return no_chain;
  constexpr unsigned kept = abi::desc_f_next | abi::desc_f_write | abi::desc_f_indirect;
  // What is staged is the driver's already, but it cannot know that.
  const std::uint32_t room = tracking.free_entries - tracking.staged;
  // In locals: every access to guest memory might change what is not.
  const std::byte* const descriptors = ring.descriptors;
  std::byte* const table = tracking.table.data();
  const std::uint32_t size = config_.size;
  const std::uint16_t token = tracking.first_free;
  std::uint32_t offset = tracking.available & 0x7fffU;
  std::uint64_t next = token;
  for (std::uint32_t count = 1; count <= room; ++count) {
    const auto entry = static_cast<std::uint16_t>(next);
    std::byte* const to = table + std::size_t{16} * entry;
    const std::byte* const from = descriptors + std::size_t{16} * offset;
    next = memory::load_at<std::uint64_t>(to + 8) >> 48;
    const detail::PackedRing::Rest rest{memory::load_at<std::uint64_t>(from + 8)};
    const std::uint64_t flags = rest.flags() & kept;
    memory::store_at<std::uint64_t>(to, memory::load_at<std::uint64_t>(from));
    memory::store_at<std::uint64_t>(to + 8, rest.length() | flags << 32 | next << 48);
    offset = offset + 1 == size ? 0 : offset + 1;
    if ((flags & abi::desc_f_next) != 0) continue;
    auto& record = tracking.records[token];
    record.buffer_id = rest.id();  // 2.8.6: the last one's
    record.descriptors = static_cast<std::uint16_t>(count);
    record.last = entry;
    tracking.first_free = static_cast<std::uint16_t>(next);
    tracking.free_entries = static_cast<std::uint16_t>(tracking.free_entries - count);
    tracking.available = abi::packed_after(tracking.available, count, config_.size);
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
