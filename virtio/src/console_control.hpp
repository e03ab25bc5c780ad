// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <optional>
#include <span>

#include <trivet/virtio/abi/console.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/queue.hpp>

#include "console_port.hpp"

namespace trivet::virtio {

/// The control queues of a console with several ports (virtio 1.2, 5.3.6.2). What the driver is to be told is kept as
/// each port's state, not as messages: a driver that gives no buffers costs no memory. A message that is short, of an
/// event that drivers do not send, or of a port that is not there is passed over. On the device's executor only.
class ConsoleControl {
 public:
  using Ports = std::span<const std::unique_ptr<ConsolePort>>;

  ConsoleControl(Ports ports, Notifier& notifier) noexcept : ports_(ports), notifier_(notifier) {}

  void start_queue(Queue queue);
  std::optional<Queue> stop_queue(unsigned index) noexcept;
  /// See Device::process.
  Result<More> process(unsigned index);

 private:
  /// Tells the driver what it does not know yet, as far as it gave buffers.
  Result<More> tell();
  /// False when there is no buffer.
  Result<bool> tell_one(ConsolePort& port);
  Result<More> listen();
  void heard(const abi::ConsoleControl& message) noexcept;
  void publish(Queue& queue) noexcept;

  Ports ports_;
  Notifier& notifier_;
  std::optional<Queue> to_driver_, from_driver_;
};

}  // namespace trivet::virtio
