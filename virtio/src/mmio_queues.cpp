// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <fmt/format.h>

#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/mmio_transport.hpp>

namespace trivet::virtio {

MmioTransport::QueueRegisters* MmioTransport::selected() noexcept {
  return registers_.selected_queue < registers_.queues.size() ? &registers_.queues[registers_.selected_queue] : nullptr;
}

bool MmioTransport::running() const noexcept {
  constexpr auto stopped = abi::status_failed | abi::status_needs_reset;
  return (status() & abi::status_driver_ok) != 0 && (status() & stopped) == 0;
}

bool MmioTransport::queue_settings_open(const QueueRegisters& queue) const noexcept {
  constexpr auto features_ok = abi::status_acknowledge | abi::status_driver | abi::status_features_ok;
  if (queue.ready) return false;
  return status() == features_ok || (running() && queue.was_reset);
}

void MmioTransport::write_queue_ready(std::uint32_t value) {
  auto* queue = selected();
  if (queue == nullptr || value > 1) return refuse("QueueReady", value);
  if (value == 0) {
    if (queue->ready) stop_queue(registers_.selected_queue);
    return;
  }
  if (!queue_settings_open(*queue)) return refuse("QueueReady of an enabled queue or in a wrong state", value);
  enable_queue(registers_.selected_queue);
}

void MmioTransport::enable_queue(unsigned index) {
  auto& registers = registers_.queues[index];
  const auto max_size = device_->queue_sizes()[index];
  if (registers.size > max_size) {
    return host_.driver_fault(Error::malformed(
        "enable queue", fmt::format("queue {}: size {} is beyond QueueNumMax {}", index, registers.size, max_size)));
  }
  auto queue = Queue::create({.index = static_cast<std::uint16_t>(index),
                              .size = static_cast<std::uint16_t>(registers.size),
                              .max_size = max_size,
                              .descriptor_area = {registers.descriptor_area},
                              .driver_area = {registers.driver_area},
                              .device_area = {registers.device_area},
                              .features = negotiated()},
                             config_.memory);
  if (!queue)
    return queue.error().blame() == Blame::guest ? host_.driver_fault(queue.error()) : host_.host_error(queue.error());
  if (running()) {
    if (const auto started = host_.start_queue({std::move(*queue), kick_fd(index)}); !started) {
      return host_.host_error(started.error());
    }
  } else {
    waiting_[index] = std::move(*queue);
  }
  registers.ready = true;
}

void MmioTransport::stop_queue(unsigned index) {
  if ((status() & abi::status_driver_ok) != 0) {
    if (const auto stopped = host_.stop_queue(index); !stopped) host_.host_error(stopped.error());
  }
  waiting_[index].reset();
  registers_.queues[index].ready = false;
}

void MmioTransport::write_queue_reset(std::uint32_t value) {
  auto* queue = selected();
  if (queue == nullptr || value != 1 || !running() || (negotiated() & abi::f_ring_reset) == 0) {
    return refuse("QueueReset without RING_RESET or in a wrong state", value);
  }
  if (queue->ready) stop_queue(registers_.selected_queue);
  *queue = QueueRegisters{};
  queue->was_reset = true;
}

}  // namespace trivet::virtio
