// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <bit>
#include <fmt/format.h>
#include <sys/stat.h>

#include <trivet/virtio/abi/features.hpp>

#include "vhost_user_rule.hpp"

namespace trivet::test::vhost_user {
namespace {

/// Events, and what else has no name in a file system; not what could be read for ever.
bool is_event(const UniqueFd& fd) {
  struct stat status {};
  return ::fstat(fd.value(), &status) == 0 && (status.st_mode & S_IFMT) == 0;
}

bool same_places(const virtio::QueueConfig& a, const virtio::QueueConfig& b) {
  return a.descriptor_area == b.descriptor_area && a.driver_area == b.driver_area && a.device_area == b.device_area;
}

}  // namespace

// --- what is set while a ring is stopped ---

Result<Ring*> Server::ring_of(std::uint32_t index) {
  if (index >= rings_.size()) return refusal(fmt::format("no queue {}: there are {}", index, rings_.size()));
  return &rings_[index];
}

Result<Ring*> Server::stopped_ring(std::uint32_t index) {
  TRIVET_ASSIGN(auto* ring, ring_of(index));
  if (ring->kick.valid()) return out_of_order(fmt::format("queue {} is started", index));
  return ring;
}

unsigned Server::index_of(const Ring& ring) const noexcept {
  return static_cast<unsigned>(&ring - rings_.data());
}

Result<void> Server::set_vring_num(Message& message) {
  const auto state = message.at<abi::VringState>(0);
  TRIVET_ASSIGN(auto* ring, stopped_ring(state.index));
  const auto most = device_->queue_sizes()[state.index];
  if (state.num == 0 || state.num > most) {
    return refusal(fmt::format("queue {}: {} entries, of at most {}", state.index, state.num, most));
  }
  ring->size = state.num;
  return {};
}

Result<void> Server::set_vring_addr(Message& message) {
  const auto address = message.at<abi::VringAddress>(0);
  TRIVET_ASSIGN(auto* ring, stopped_ring(address.index));
  if (address.flags != 0) return refusal(fmt::format("queue {}: flags {:#x}", address.index, address.flags));
  ring->address = address;
  return {};
}

Result<void> Server::set_vring_base(Message& message) {
  const auto state = message.at<abi::VringState>(0);
  TRIVET_ASSIGN(auto* ring, stopped_ring(state.index));
  ring->base = state.num;
  return {};
}

// --- descriptors ---

Result<Ring*> Server::ring_with_descriptor(const Message& message, bool& has_descriptor) {
  const auto value = message.at<std::uint64_t>(0);
  if ((value & ~(abi::vring_index_mask | abi::vring_no_descriptor)) != 0) {
    return refusal(fmt::format("a value of {:#x}", value));
  }
  has_descriptor = (value & abi::vring_no_descriptor) == 0;
  if (message.descriptors.size() != (has_descriptor ? 1U : 0U)) {
    return refusal(fmt::format("{} descriptors with a value of {:#x}", message.descriptors.size(), value));
  }
  if (has_descriptor && !is_event(message.descriptors[0])) return refusal("the descriptor is no event");
  return ring_of(static_cast<std::uint32_t>(value & abi::vring_index_mask));
}

Result<void> Server::set_event(Message& message, FdSlot Ring::*slot) {
  bool has_descriptor = false;
  TRIVET_ASSIGN(auto* ring, ring_with_descriptor(message, has_descriptor));
  if (has_descriptor) return (ring->*slot).put(message.descriptors[0]);
  (ring->*slot).clear();
  return {};
}

Result<void> Server::set_vring_call(Message& message) {
  return set_event(message, &Ring::call);
}

Result<void> Server::set_vring_err(Message& message) {
  return set_event(message, &Ring::error);
}

Result<void> Server::set_vring_kick(Message& message) {
  bool has_descriptor = false;
  TRIVET_ASSIGN(auto* ring, ring_with_descriptor(message, has_descriptor));
  if (!has_descriptor) return refusal("a ring without a descriptor would have to be polled, which this does not");
  if (ring->size == 0 || !ring->address) return out_of_order("before SET_VRING_NUM and SET_VRING_ADDR");
  if (ring->running) TRIVET_TRY(stop(*ring));
  ring->kick = std::move(message.descriptors[0]);
  return update(*ring);
}

// --- starting and stopping ---

Result<void> Server::set_vring_enable(Message& message) {
  const auto state = message.at<abi::VringState>(0);
  TRIVET_ASSIGN(auto* ring, ring_of(state.index));
  if (state.num > 1) return refusal(fmt::format("queue {}: a state of {}", state.index, state.num));
  ring->enabled = state.num == 1;
  return update(*ring);
}

Result<void> Server::get_vring_base(Message& message) {
  auto state = message.at<abi::VringState>(0);
  TRIVET_ASSIGN(auto* ring, ring_of(state.index));
  if (ring->running) TRIVET_TRY(stop(*ring));
  ring->kick.reset();
  state.num = ring->base;
  answer(state);
  // Not every front end says that a device which wants a reset may go on: its last ring's end does.
  const bool rests = std::ranges::none_of(rings_, [](const Ring& it) { return it.kick.valid(); });
  if (rests && (status_ & virtio::abi::status_needs_reset) != 0) forget_driver();
  return {};
}

/// Gives the ring to the device or takes it back, as all that was said of it demands. DRIVER_OK in the status does not:
/// QEMU 7.2 negotiates STATUS for devices of which it never says that.
Result<void> Server::update(Ring& ring) {
  const bool runs = ring.kick.valid() && ring.enabled;
  if (runs && !ring.running) return start(ring);
  if (!runs && ring.running) return stop(ring);
  return {};
}

Result<void> Server::update_all() {
  for (auto& ring : rings_) TRIVET_TRY(update(ring));
  return {};
}

Result<void> Server::start(Ring& ring) {
  if ((features_ & virtio::abi::f_version_1) == 0) return out_of_order("rings without VIRTIO_F_VERSION_1");
  const auto index = index_of(ring);
  const auto features = features_ & ~abi::f_protocol_features;
  auto config = queue_config(ring, index, device_->queue_sizes()[index], features, memory_);
  if (!config) return config.error();
  if (!active_) {
    TRIVET_TRY(host_.activate(features, {}));
    active_ = true;
  }
  auto queue = virtio::Queue::create(*config, memory_.map());
  if (!queue) {
    if (queue.error().blame() != Blame::guest) return queue.error();
    host_.driver_fault(queue.error());  // of the driver's making: the front end only passes it on
    return {};
  }
  TRIVET_TRY(host_.start_queue({std::move(*queue), ring.kick.value()}));
  ring.config = *config;
  ring.running = true;
  ++running_;
  tell_change();
  return {};
}

Result<void> Server::stop(Ring& ring) {
  TRIVET_ASSIGN(auto queue, host_.stop_queue(index_of(ring)));
  ring.running = false;
  --running_;
  if (queue) {
    // What a faulty chain left behind was not done.
    (void)queue->go_back(queue->in_flight());
    ring.base = base_of(queue->config());
  }
  return {};
}

/// The memory is another: rings that run must still be where they were, for the front end's addresses stay.
Result<void> Server::follow_memory() {
  for (auto& ring : rings_) {
    if (!ring.running) continue;
    const auto index = index_of(ring);
    TRIVET_ASSIGN(const auto now,
                  queue_config(ring, index, device_->queue_sizes()[index], ring.config.features, memory_));
    if (same_places(now, ring.config)) continue;
    TRIVET_TRY(stop(ring));
    TRIVET_TRY(start(ring));
  }
  return {};
}

/// The device is as it was at first. No ring runs.
void Server::forget_driver() noexcept {
  (void)host_.reset();
  active_ = false;
  changed_ = false;
  status_.fetch_and(~virtio::abi::status_needs_reset);
}

/// And no ring is started; nor enabled, where asked for.
void Server::reset_all(bool disable) noexcept {
  forget_driver();
  for (auto& ring : rings_) {
    ring.running = false;
    ring.kick.reset();
    ring.base = 0;
    if (disable) ring.enabled = false;
  }
  running_ = 0;
  status_ = 0;
}

}  // namespace trivet::test::vhost_user
