// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <fmt/format.h>
#include <utility>

#include <trivet/virtio/abi/admin.hpp>
#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/driver_side.hpp>

namespace trivet::virtio {

DriverSide::Queue DriverSide::fresh_queue(unsigned index) const noexcept {
  Queue queue;
  if (options_.first_size == FirstSize::largest) queue.size = device_->queue_sizes()[index];
  return queue;
}

DriverSide::Queue* DriverSide::selected() noexcept {
  const auto hidden = (features() & abi::f_admin_vq) != 0 ? 0 : options_.admin_queues;
  return selected_queue < queues_.size() - hidden ? &queues_[selected_queue] : nullptr;
}

std::uint16_t DriverSide::largest_size() noexcept {
  return selected() != nullptr ? device_->queue_sizes()[selected_queue] : std::uint16_t{0};
}

bool DriverSide::settings_open(const Queue& queue) const noexcept {
  constexpr auto features_ok = abi::status_acknowledge | abi::status_driver | abi::status_features_ok;
  if (queue.ready) return false;
  return status() == features_ok || (running() && queue.was_reset);
}

DriverSide::Queue* DriverSide::selected_open(std::uint32_t offset) noexcept {
  auto* queue = selected();
  if (queue != nullptr && settings_open(*queue)) return queue;
  refuse("a queue setting outside FEATURES_OK..DRIVER_OK, of no or an enabled queue, register", offset);
  return nullptr;
}

void DriverSide::enable_selected() {
  const auto index = selected_queue;
  auto* settings = selected();
  if (settings == nullptr || !settings_open(*settings)) {
    return refuse("the enabling of no or an enabled queue, or in a wrong state, queue", index);
  }
  const auto max_size = largest_size();
  if (settings->size > max_size) {
    return host_.driver_fault(Error::malformed(
        "enable queue", fmt::format("queue {}: size {} is beyond its largest, {}", index, settings->size, max_size)));
  }
  auto queue = virtio::Queue::create({.index = static_cast<std::uint16_t>(index),
                                      .size = static_cast<std::uint16_t>(settings->size),
                                      .max_size = max_size,
                                      .descriptor_area = {settings->descriptor_area},
                                      .driver_area = {settings->driver_area},
                                      .device_area = {settings->device_area},
                                      .features = negotiated(),
                                      .next_available = QueueConfig::first_index(negotiated()),
                                      .next_used = QueueConfig::first_index(negotiated())},
                                     options_.memory);
  if (!queue)
    return queue.error().blame() == Blame::guest ? host_.driver_fault(queue.error()) : host_.host_error(queue.error());
  if (running()) {
    if (const auto started = start_queue(std::move(*queue)); !started) return host_.host_error(started.error());
  } else {
    waiting_[index] = std::move(*queue);
  }
  settings->ready = true;
}

Result<void> DriverSide::start_queue(virtio::Queue queue) {
  if (loop_ended_) return Error(Errc::bad_state, "start queue", "the event loop has ended", Blame::host);
  const auto index = queue.index();
  auto started = host_.start_queue({std::move(queue), wiring_.connect_queue(index)});
  if (!started) wiring_.disconnect_queue(index);
  return started;
}

void DriverSide::stop_selected() {
  if (const auto* queue = selected(); queue != nullptr && queue->ready) stop_queue(selected_queue);
}

void DriverSide::stop_queue(unsigned index) {
  if ((status() & abi::status_driver_ok) != 0) {
    if (const auto stopped = host_.stop_queue(index); stopped) {
      wiring_.disconnect_queue(index);
    } else {
      host_.host_error(stopped.error());
    }
  }
  waiting_[index].reset();
  queues_[index].ready = false;
}

void DriverSide::reset_selected() {
  auto* queue = selected();
  if (queue == nullptr || !running() || (negotiated() & abi::f_ring_reset) == 0) {
    return refuse("a queue reset without RING_RESET or in a wrong state, queue", selected_queue);
  }
  stop_selected();
  *queue = fresh_queue(selected_queue);
  queue->was_reset = true;
}

void DriverSide::reconnect_queues() {
  if (!running() || loop_ended_) return;
  for (unsigned i = 0; i < queues_.size(); ++i) {
    if (!queues_[i].ready) continue;
    auto queue = host_.stop_queue(i);
    if (!queue) return host_.host_error(queue.error());
    wiring_.disconnect_queue(i);
    if (!*queue) continue;
    if (const auto started = start_queue(std::move(**queue)); !started) {
      host_.host_error(started.error());
      needs_reset();
    }
  }
}

}  // namespace trivet::virtio
