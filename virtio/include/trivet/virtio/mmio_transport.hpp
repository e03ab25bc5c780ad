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

#include <trivet/core/address.hpp>
#include <trivet/core/bytes.hpp>
#include <trivet/core/doorbell.hpp>
#include <trivet/core/event.hpp>
#include <trivet/core/interrupt_line.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/device_host.hpp>

namespace trivet::virtio {

/// What a device on the MMIO transport is tied to. What is pointed to outlives the transport.
struct MmioConfig {
  GuestAddress base{};  ///< of the registers; doorbells ring there
  std::shared_ptr<const memory::MemoryMap> memory{};
  boost::asio::any_io_executor executor{};  ///< see DeviceHost
  InterruptLine* interrupt = nullptr;       ///< an edge for each notification
  Doorbells* doorbells = nullptr;           ///< null: each kick takes the way through `write`
  ErrorLog log{};
};

/// A virtio device behind a page of registers: the MMIO transport, version 2 (virtio 1.2, 4.2), with
/// VIRTIO_F_RING_RESET.
///
/// The driver is taken strictly: a register that may not be written now keeps its value, which is logged; a status is
/// taken only if it adds the next bits in order; features only with DRIVER, queues only with FEATURES_OK. What breaks
/// the device's rules once it runs sets DEVICE_NEEDS_RESET. Thread rule: `read`, `write`: any thread, many at once; a
/// write that activates or resets waits for the executor. Destroy it as DeviceHost says, when no vCPU can call any
/// more.
class MmioTransport final : private DeviceHome {
 public:
  /// Bytes of address space that a bus should give it.
  static constexpr std::uint64_t size = 0x200;

  /// `invalid_argument` (caller) names what is missing or out of bounds; `limit`, `no_memory` (host).
  /// A doorbell that the host refuses is logged and its queue takes the other way.
  static Result<std::unique_ptr<MmioTransport>> create(std::unique_ptr<Device> device, MmioConfig config);
  ~MmioTransport();

  /// The guest reads `offset` bytes from the base. Registers are 4 bytes wide and aligned: other reads of them give
  /// zeros. The configuration space takes any width.
  void read(std::uint64_t offset, Bytes out) noexcept;
  /// The guest writes. Registers as above: other writes to them are ignored.
  void write(std::uint64_t offset, ConstBytes in) noexcept;

  [[nodiscard]] Device& device() noexcept { return *device_; }
  [[nodiscard]] const GuestAddress& base() const noexcept { return config_.base; }
  /// Status bits as the driver reads them. Any thread.
  [[nodiscard]] std::uint32_t status() const noexcept { return status_.load(std::memory_order_acquire); }
  /// The descriptor that a queue's kicks come on: its doorbell's, else its event's.
  [[nodiscard]] int kick_fd(unsigned queue) const noexcept;

 private:
  /// What the driver wrote of one queue.
  struct QueueRegisters {
    std::uint32_t size = 0;
    std::uint64_t descriptor_area = 0;
    std::uint64_t driver_area = 0;
    std::uint64_t device_area = 0;
    bool ready = false;
    bool was_reset = false;  // by QueueReset: it may be set up again while the device runs
  };
  /// All that the driver sees of the transport, but for what changes without the lock.
  struct Registers {
    std::uint32_t device_features_page = 0;
    std::uint32_t driver_features_page = 0;
    std::array<std::uint32_t, 4> driver_features{};
    std::uint32_t selected_queue = 0;
    std::vector<QueueRegisters> queues;
  };
  struct Kick {
    std::unique_ptr<Doorbell> doorbell;
    std::optional<Event> event;  // where there is no doorbell
  };

  MmioTransport(std::unique_ptr<Device> device, MmioConfig config);
  Result<void> create_kicks();

  std::uint32_t read_register(std::uint32_t offset) noexcept;
  void write_register(std::uint32_t offset, std::uint32_t value) noexcept;
  bool write_queue_register(std::uint32_t offset, std::uint32_t value) noexcept;
  void notify(std::uint32_t queue) noexcept;

  void write_driver_features(std::uint32_t value) noexcept;
  void write_status(std::uint32_t value) noexcept;
  [[nodiscard]] bool features_acceptable() const noexcept;
  void activate();
  void reset();

  void write_queue_ready(std::uint32_t value);
  void write_queue_reset(std::uint32_t value);
  void enable_queue(unsigned index);
  void stop_queue(unsigned index);
  [[nodiscard]] QueueRegisters* selected() noexcept;
  [[nodiscard]] bool queue_settings_open(const QueueRegisters& queue) const noexcept;
  [[nodiscard]] bool running() const noexcept;
  [[nodiscard]] std::uint64_t offered() const noexcept;
  [[nodiscard]] std::uint64_t negotiated() const noexcept;
  void refuse(const char* what, std::uint32_t value) noexcept;
  void interrupt(std::uint32_t cause) noexcept;

  void used(unsigned queue) noexcept override;
  void config_changed() noexcept override;
  void needs_reset() noexcept override;

  std::unique_ptr<Device> device_;
  MmioConfig config_;
  std::vector<Kick> kicks_;
  DeviceHost host_;  // before the device and the kicks go, it lets go of them

  std::mutex mutex_;  // registers_ and waiting_
  Registers registers_;
  std::vector<std::optional<Queue>> waiting_;  // enabled, until DRIVER_OK hands them over
  std::atomic<std::uint32_t> status_{0};
  std::atomic<std::uint32_t> interrupt_status_{0};
  std::atomic<std::uint32_t> refused_{0};
};

}  // namespace trivet::virtio
