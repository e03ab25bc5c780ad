// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/result.hpp>
#include <trivet/virtio/device.hpp>

namespace trivet::virtio {

/// Where a home says what went wrong: driver faults and host errors, with the device's name. Any thread.
using ErrorLog = std::function<void(const Error&)>;

/// What each home does in its own way; what DeviceHost asks of it. Thread rule: any thread; waits for nobody, allocates
/// nothing.
class DeviceHome {
 public:
  /// A used buffer notification of one queue.
  virtual void used(unsigned queue) noexcept = 0;
  /// A configuration change notification.
  virtual void config_changed() noexcept = 0;
  /// The driver broke the rules, which is logged already: DEVICE_NEEDS_RESET is to be set. Once until the device is
  /// reset.
  virtual void needs_reset() noexcept = 0;

 protected:
  ~DeviceHome() = default;
};

/// What all homes of a device share: it brings the device's calls to its executor and its kicks to `process`, and turns
/// guest errors into one driver fault.
///
/// The executor is an io_context's, or a strand's on one, and must run one handler at a time for this device. Its loop
/// must not wait for a thread that calls in here. Thread rule: `activate`, `start_queue`, `stop_queue` and `reset` come
/// from any thread, one at a time, and wait until the executor has done them (on the executor itself they just do
/// them). Destroy it on the executor or once its loop has ended, and before the io_context.
class DeviceHost final : private Notifier {
 public:
  /// `device` and `home` outlive this.
  DeviceHost(Device& device, boost::asio::any_io_executor executor, DeviceHome& home, ErrorLog log);
  DeviceHost(const DeviceHost&) = delete;
  DeviceHost& operator=(const DeviceHost&) = delete;
  ~DeviceHost();

  /// One queue to serve, and the eventfd that its kicks come on, which stays the caller's and must stay open until the
  /// queue is stopped.
  struct Start {
    Queue queue;
    int kick_fd = -1;
  };

  /// Activates the device and starts these queues. Errors: the device's own; `bad_state` when the loop has ended (host)
  /// or the device is active (caller). After an error the device is inactive.
  Result<void> activate(std::uint64_t features, std::vector<Start> queues);
  /// `bad_state` when the device is inactive or the queue started (caller), or the loop has ended (host).
  Result<void> start_queue(Start start);
  /// Nothing when it was not started. `bad_state` when the loop has ended (host).
  Result<std::optional<Queue>> stop_queue(unsigned index);
  /// When this returns true the device touches no guest memory and no kick's descriptor any more. False when the loop
  /// has ended: the device cannot either, but is reset later.
  bool reset();

  /// As if the queue's kick came. Any thread; may allocate.
  void kick(unsigned index);

  /// Logs that the driver broke a rule and tells the home, once until `reset`. Any thread.
  void driver_fault(const Error& error) noexcept override;
  /// Logs it: the first few times, then ever more seldom. Any thread.
  void host_error(const Error& error) noexcept override;

 private:
  struct Watch;

  void used(unsigned queue) noexcept override { home_.used(queue); }
  void config_changed() noexcept override { home_.config_changed(); }
  void wake(unsigned queue) noexcept override { kick(queue); }

  Result<void> start_here(Start start);
  std::optional<Queue> stop_here(unsigned index) noexcept;
  void reset_here() noexcept;
  void process(unsigned index) noexcept;
  void log(const Error& error, std::atomic<std::uint64_t>& count) noexcept;

  Device& device_;
  boost::asio::any_io_executor executor_;
  DeviceHome& home_;
  ErrorLog log_;
  std::vector<std::shared_ptr<Watch>> watches_;  // by queue; touched on the executor only
  std::shared_ptr<DeviceHost*> self_;            // null behind it once this is gone; for what is posted
  bool active_ = false;                          // on the executor only
  std::atomic<bool> faulted_{false};
  std::atomic<bool> reset_owed_{false};
  std::atomic<std::uint64_t> faults_logged_{0};
  std::atomic<std::uint64_t> errors_logged_{0};
};

}  // namespace trivet::virtio
