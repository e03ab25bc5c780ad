// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/device_host.hpp>

namespace trivet::virtio {

/// What each transport with registers does in its own way; what DriverSide asks of it. `used` and `config_changed`
/// come from any thread, wait for nobody and allocate nothing; the rest with DriverSide's lock held.
class TransportWiring {
 public:
  /// A used buffer notification of one queue.
  virtual void used(unsigned queue) noexcept = 0;
  /// A configuration change notification.
  virtual void config_changed() noexcept = 0;
  /// This queue starts: the descriptor that its kicks come on, open until `disconnect_queue`.
  [[nodiscard]] virtual int connect_queue(unsigned queue) noexcept = 0;
  /// This queue has stopped; nobody uses its descriptor any more.
  virtual void disconnect_queue(unsigned queue) noexcept = 0;
  /// The device was reset: what the transport kept for the driver is to be forgotten.
  virtual void was_reset() noexcept = 0;

 protected:
  ~TransportWiring() = default;
};

/// What a driver sees of a device through registers, whichever transport they belong to: the status machine, the
/// features, the queues' settings (virtio 1.2, 2.1, 2.2, 2.6 and 3.1).
///
/// The driver is taken strictly: what may not be written now keeps its value, which is logged; a status is taken only
/// if it adds the next bits in order; features only with DRIVER, queues only with FEATURES_OK. What breaks the device's
/// rules once it runs sets DEVICE_NEEDS_RESET, here and nowhere else. Thread rule: `status`, `features`, `kick`,
/// `refuse` and `host_error` from any thread; all else with `lock` held. What activates, stops or resets waits for the
/// executor. Destroy it as DeviceHost says, when no vCPU can call any more.
class DriverSide final : private DeviceHome {
 public:
  /// The size that a queue has until the driver writes one.
  enum class FirstSize : bool { none, largest };

  /// What a transport tells of itself.
  struct Options {
    const char* transport = "";  ///< for messages
    std::shared_ptr<const memory::MemoryMap> memory{};
    boost::asio::any_io_executor executor{};  ///< see DeviceHost
    ErrorLog log{};
    FirstSize first_size = FirstSize::none;
    std::uint64_t transport_features = 0;  ///< that this transport adds to those of all
    std::uint64_t withheld_features = 0;   ///< of rings and transports, not to be offered
    unsigned admin_queues = 0;             ///< the device's last: there for a driver with VIRTIO_F_ADMIN_VQ only
  };

  /// What the driver wrote of one queue.
  struct Queue {
    std::uint32_t size = 0;
    std::uint64_t descriptor_area = 0;
    std::uint64_t driver_area = 0;
    std::uint64_t device_area = 0;
    bool ready = false;
    bool was_reset = false;  ///< alone: it may be set up again while the device runs
  };

  /// `invalid_argument` (caller) names what is missing or out of bounds.
  static Result<void> check(const Device* device, const Options& options);
  /// After `check`. `wiring` outlives this.
  DriverSide(std::unique_ptr<Device> device, Options options, TransportWiring& wiring);
  ~DriverSide();

  [[nodiscard]] std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }

  [[nodiscard]] Device& device() const noexcept { return *device_; }
  /// With the administration queues.
  [[nodiscard]] unsigned queue_count() const noexcept { return static_cast<unsigned>(queues_.size()); }
  /// Status bits as the driver reads them.
  [[nodiscard]] std::uint32_t status() const noexcept { return status_.load(std::memory_order_acquire); }
  /// What was negotiated, from FEATURES_OK to the reset; else 0. Any thread.
  [[nodiscard]] std::uint64_t features() const noexcept { return agreed_.load(std::memory_order_acquire); }

  /// \name Registers
  /// @{
  std::uint32_t device_features_page = 0;
  std::uint32_t driver_features_page = 0;
  std::uint32_t selected_queue = 0;

  /// The selected 32 bits of what is offered.
  [[nodiscard]] std::uint32_t device_features() const noexcept;
  /// The selected 32 bits of what the driver accepted.
  [[nodiscard]] std::uint32_t driver_features() const noexcept;
  void write_driver_features(std::uint32_t value) noexcept;
  void write_status(std::uint32_t value) noexcept;

  /// The selected queue; null when there is no such queue.
  [[nodiscard]] Queue* selected() noexcept;
  /// The same if its settings may be written now, else null and logged; `offset` is the register's, for the log.
  [[nodiscard]] Queue* selected_open(std::uint32_t offset) noexcept;
  /// Of the selected queue; 0 when there is no such queue.
  [[nodiscard]] std::uint16_t largest_size() noexcept;
  void enable_selected();
  /// Nothing when it is not enabled.
  void stop_selected();
  /// Queue reset (2.6.1), which is over when this returns.
  void reset_selected();
  /// @}

  void read_config(std::uint64_t offset, Bytes out) const noexcept;
  void write_config(std::uint64_t offset, ConstBytes in) noexcept;

  /// The running queues let go of their descriptors and are connected anew.
  void reconnect_queues();

  /// As if this queue's kick came.
  void kick(unsigned queue) { host_.kick(queue); }
  /// Logs what the driver wrote and was ignored; the first few times.
  void refuse(const char* what, std::uint32_t value) noexcept;
  void host_error(const Error& error) noexcept { host_.host_error(error); }

 private:
  void used(unsigned queue) noexcept override { wiring_.used(queue); }
  void config_changed() noexcept override { wiring_.config_changed(); }
  void needs_reset() noexcept override;

  [[nodiscard]] std::uint64_t offered() const noexcept;
  [[nodiscard]] std::uint64_t negotiated() const noexcept;
  [[nodiscard]] bool features_acceptable() const noexcept;
  [[nodiscard]] bool running() const noexcept;
  [[nodiscard]] bool settings_open(const Queue& queue) const noexcept;
  [[nodiscard]] Queue fresh_queue(unsigned index) const noexcept;
  void activate();
  void reset();
  Result<void> start_queue(virtio::Queue queue);
  void stop_queue(unsigned index);

  std::unique_ptr<Device> device_;
  Options options_;
  TransportWiring& wiring_;
  DeviceHost host_;  // before the device goes, it lets go of it

  std::mutex mutex_;
  std::array<std::uint32_t, 4> driver_features_{};
  std::vector<Queue> queues_;
  std::vector<std::optional<virtio::Queue>> waiting_;  // enabled, until DRIVER_OK hands them over
  bool loop_ended_ = false;
  std::atomic<std::uint32_t> status_{0};
  std::atomic<std::uint64_t> agreed_{0};
  std::atomic<std::uint32_t> refused_{0};
};

}  // namespace trivet::virtio
