// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/virtio/queue.hpp>
#include <trivet/virtio/shared_memory.hpp>

namespace trivet::virtio {

/// How an active device reaches its driver and its host, whatever its home (MMIO, PCI, vhost-user, Xen). Given by the
/// home; lives until `Device::reset` returns. Thread rule: any thread; waits for nobody, allocates nothing.
class Notifier {
 public:
  /// A used buffer notification of one queue (virtio 1.2, 2.3). Call it when `Queue::should_notify` says so.
  virtual void used(unsigned queue) noexcept = 0;
  /// A configuration change notification. The device has raised its `config_generation` already.
  virtual void config_changed() noexcept = 0;
  /// The driver broke the rules: it is logged, the home sets DEVICE_NEEDS_RESET, and `process` is called no more until
  /// reset.
  virtual void driver_fault(const Error& error) noexcept = 0;
  /// Something of the host's failed, which the driver learns by other means or not at all. Logged, not without bound.
  virtual void host_error(const Error& error) noexcept = 0;
  /// Has `Device::process` called for this queue soon, as if it were kicked. The one call that may allocate.
  virtual void wake(unsigned queue) noexcept = 0;

 protected:
  ~Notifier() = default;
};

/// What a device gets when its driver is ready (DRIVER_OK).
struct Activation {
  std::uint64_t features = 0;  ///< negotiated: a subset of what the home offered
  Notifier* notifier = nullptr;
  boost::asio::any_io_executor executor;  ///< the device's event loop: for its own descriptors and timers
};

/// Whether a queue wants to be processed again without another kick.
enum class More : bool { no, yes };

/// A virtio device, without hypervisor, transport or thread of its own: one class for all four homes.
///
/// Its life: `activate`, then `start_queue` for each queue that the driver enabled, then `process` for each kick;
/// `stop_queue` and `start_queue` again as the driver or the home likes; `reset` ends it, and all may come again.
/// Thread rule: `activate`, `start_queue`, `process`, `stop_queue` and `reset` come on the device's executor, one at a
/// time; the rest from any thread, where the home serialises `read_config` and `write_config` among themselves.
class Device {
 public:
  virtual ~Device() = default;

  /// virtio 1.2, 5: device types.
  [[nodiscard]] virtual std::uint32_t id() const noexcept = 0;
  /// For logs: "block", "console".
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  /// Feature bits of the device type (0-23, 50-63). The home adds VIRTIO_F_VERSION_1 and what it and its rings can.
  [[nodiscard]] virtual std::uint64_t features() const noexcept = 0;
  /// The largest size of each queue, a power of two <= 32768; its length is the number of queues.
  [[nodiscard]] virtual std::span<const std::uint16_t> queue_sizes() const noexcept = 0;

  /// Its shared memory regions: the same ones as long as the device lives (virtio 1.3, 2.10).
  [[nodiscard]] virtual std::span<const SharedMemory> shared_memory() const noexcept { return {}; }

  /// The device's configuration space. Reads beyond its end give zeros, writes there or to read-only fields are
  /// ignored.
  virtual void read_config(std::uint32_t offset, Bytes out) const noexcept = 0;
  virtual void write_config(std::uint32_t offset, ConstBytes in) noexcept = 0;
  /// Another number after each change that the device itself makes to its configuration; changes in one step with the
  /// fields, so that a driver which reads it before and after them knows that it read one state (virtio 1.2, 2.5.2).
  [[nodiscard]] virtual std::uint32_t config_generation() const noexcept { return 0; }

  /// The driver is ready. An error is the host's and leaves the device inactive.
  virtual Result<void> activate(Activation activation) = 0;

  /// Serves a queue (`queue.index()` says which) from now on. An error is the host's and leaves the queue stopped.
  virtual Result<void> start_queue(Queue queue) = 0;

  /// Finishes what is in flight on a queue and gives it back, with nothing of it in use; nothing if it was not started.
  virtual std::optional<Queue> stop_queue(unsigned index) noexcept = 0;

  /// The driver kicked this queue, or may have. An error that blames the guest becomes DEVICE_NEEDS_RESET in the home;
  /// any other is the host's, is logged and leaves the device as it is. Bounded work: about one ring's worth, then
  /// `More::yes`.
  virtual Result<More> process(unsigned index) = 0;

  /// Stops all queues and forgets them and the activation. Afterwards `activate` may come again.
  virtual void reset() noexcept = 0;
};

}  // namespace trivet::virtio
