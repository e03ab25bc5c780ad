// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
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
#include <trivet/virtio/driver_side.hpp>

namespace trivet::virtio {

/// What a device on the MMIO transport is tied to. What is pointed to outlives the transport.
struct MmioConfig {
  GuestAddress base{};  ///< of the registers; doorbells ring there
  std::shared_ptr<const memory::MemoryMap> memory{};
  boost::asio::any_io_executor executor{};  ///< see DeviceHost
  InterruptLine* interrupt = nullptr;       ///< an edge for each notification
  Doorbells* doorbells = nullptr;           ///< null: each kick takes the way through `write`
  ErrorLog log{};
  /// Where the owner has mapped the device's shared memory regions, in their order; the driver is shown no others.
  std::vector<GuestAddress> shared_memory{};
  std::uint64_t withheld_features = 0;  ///< of rings and transports, not to be offered
};

/// A virtio device behind a page of registers: the MMIO transport, version 2 (virtio 1.2, 4.2), with
/// VIRTIO_F_RING_RESET; with VIRTIO_F_NOTIFICATION_DATA where there are no doorbells, which match a queue's index and
/// nothing more.
///
/// How strictly the driver is taken is DriverSide's. Thread rule: `read`, `write`: any thread, many at once; a write
/// that activates or resets waits for the executor. Destroy it as DeviceHost says, when no vCPU can call any more.
class MmioTransport final : private TransportWiring {
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

  /// As if the driver wrote 0 to the status: the device lets go of guest memory.
  void reset() noexcept;

  [[nodiscard]] Device& device() noexcept { return side_.device(); }
  [[nodiscard]] const GuestAddress& base() const noexcept { return config_.base; }
  /// Status bits as the driver reads them. Any thread.
  [[nodiscard]] std::uint32_t status() const noexcept { return side_.status(); }
  /// The descriptor that a queue's kicks come on: its doorbell's, else its event's.
  [[nodiscard]] int kick_fd(unsigned queue) const noexcept;

 private:
  struct Kick {
    std::unique_ptr<Doorbell> doorbell;
    std::optional<Event> event;  // where there is no doorbell
  };

  MmioTransport(std::unique_ptr<Device> device, MmioConfig config, DriverSide::Options options);
  Result<void> create_kicks();

  std::uint32_t read_register(std::uint32_t offset) noexcept;
  [[nodiscard]] std::uint32_t read_shared_memory_register(std::uint32_t offset) const noexcept;
  void write_register(std::uint32_t offset, std::uint32_t value) noexcept;
  bool write_queue_register(std::uint32_t offset, std::uint32_t value) noexcept;
  void write_queue_ready(std::uint32_t value);
  void write_queue_reset(std::uint32_t value);
  void notify(std::uint32_t value) noexcept;
  void interrupt(std::uint32_t cause) noexcept;

  void used(unsigned queue) noexcept override;
  void config_changed() noexcept override;
  [[nodiscard]] int connect_queue(unsigned queue) noexcept override { return kick_fd(queue); }
  void disconnect_queue(unsigned) noexcept override {}  // the doorbells stay where the registers stay
  void was_reset() noexcept override {
    interrupt_status_.store(0, std::memory_order_release);
    selected_shared_memory_ = 0;
  }

  MmioConfig config_;
  std::vector<Kick> kicks_;
  std::uint32_t selected_shared_memory_ = 0;  // with DriverSide's lock held
  std::atomic<std::uint32_t> interrupt_status_{0};
  DriverSide side_;  // before the kicks go, it lets go of them
};

}  // namespace trivet::virtio
