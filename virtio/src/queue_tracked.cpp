// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/virtio/queue.hpp>

// Queues that keep more than indices: VIRTIO_F_IN_ORDER (virtio 1.2, 2.7.9, 2.8.8) and what packed rings share with it.

namespace trivet::virtio {

/// Of a split ring.
std::uint64_t Queue::pop_in_order() {
  detail::QueueTracking& tracking = *tracking_;
  if (next_available_ == known_available_) {
    known_available_ = ring_.available_index();
    const auto ahead = static_cast<std::uint16_t>(known_available_ - next_available_);
    if (ahead == 0) return no_chain;
    const auto taken = static_cast<std::uint16_t>(next_available_ - tracking.published);
    if (ahead + taken > config_.size) return bad_available_index();
  }
  const std::uint16_t head = ring_.available_head(next_available_);
  if (head >= config_.size) return bad_head(head);
  if (tracking.records[head].state != detail::QueueTracking::State::idle) {
    return fail_pop({Rule::head_in_flight, false, config_.index, {next_available_, head, 0, 0}, 0});
  }
  tracking.enter(head);
  ++next_available_;
  return head;
}

bool Queue::stage_tracked(std::uint16_t id, std::uint32_t written) {
  using State = detail::QueueTracking::State;
  detail::QueueTracking& tracking = *tracking_;
  if (id >= config_.size || tracking.records[id].state != State::popped) [[unlikely]]
    return false;
  published_ = ++next_used_;
  if (!tracking.in_order) {
    hand_over(id, written);
    return true;
  }
  tracking.records[id].written = written;
  tracking.records[id].state = State::done;
  while (tracking.waiting != 0) {
    const std::uint16_t oldest = tracking.order[tracking.oldest_turn];
    if (tracking.records[oldest].state != State::done) break;
    hand_over(oldest, tracking.records[oldest].written);
    tracking.oldest_turn = tracking.turn_after(tracking.oldest_turn);
    --tracking.waiting;
  }
  return true;
}

/// To the ring, where the driver sees it at the next `publish`.
void Queue::hand_over(std::uint16_t id, std::uint32_t written) noexcept {
  detail::QueueTracking& tracking = *tracking_;
  if (!tracking.packed) {
    ring_.set_used(tracking.used++, id, written);
    return tracking.release(id);
  }
  const auto& record = tracking.records[id];
  const auto flags = detail::PackedRing::used_flags(tracking.used, written);
  tracking.ring.set_used(tracking.used, record.buffer_id, written);
  // A driver looks at the first one first (2.8.2), so that it sees none before that one.
  if (tracking.staged == 0) {
    tracking.first_flags = flags;
  } else {
    tracking.ring.set_flags(tracking.used, flags);
  }
  tracking.used = abi::packed_after(tracking.used, record.descriptors, config_.size);
  tracking.staged += record.descriptors;
  tracking.release(id);
}

void Queue::publish_tracked() noexcept {
  detail::QueueTracking& tracking = *tracking_;
  if (tracking.used == tracking.published && tracking.staged == 0) return;
  held_.memory->release_idle();  // from now on the driver may take its buffers' pages back
  if (tracking.packed) {
    tracking.ring.set_flags(tracking.published, tracking.first_flags);
    tracking.ring.mark_used(tracking.published, tracking.staged);
    unsignalled_ += tracking.staged;
    tracking.staged = 0;
  } else {
    unsignalled_ += static_cast<std::uint16_t>(tracking.used - tracking.published);
    ring_.set_used_index(tracking.published, tracking.used);
  }
  tracking.published = tracking.used;
  if (in_flight() == 0 && !retired_.empty()) [[unlikely]]
    retired_.clear();
}

Result<void> Queue::go_back_tracked(std::uint16_t count) {
  detail::QueueTracking& tracking = *tracking_;
  auto turn = tracking.next_turn;
  for (std::uint16_t i = 0; i < count; ++i) {  // all of them, or none
    turn = tracking.turn_before(turn);
    const auto& record = tracking.records[tracking.order[turn]];
    if (record.state != detail::QueueTracking::State::popped || record.turn != turn) return bad_go_back(count);
  }
  for (std::uint16_t i = 0; i < count; ++i) {
    tracking.next_turn = tracking.turn_before(tracking.next_turn);
    const std::uint16_t id = tracking.order[tracking.next_turn];
    if (tracking.packed) {
      tracking.available = abi::packed_before(tracking.available, tracking.records[id].descriptors, config_.size);
    }
    tracking.release(id);
  }
  if (tracking.in_order) tracking.waiting = static_cast<std::uint16_t>(tracking.waiting - count);
  next_available_ = static_cast<std::uint16_t>(next_available_ - count);
  return {};
}

}  // namespace trivet::virtio
