// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/bytes.hpp>
#include <trivet/core/doorbell.hpp>
#include <trivet/core/event.hpp>
#include <trivet/core/interrupt_line.hpp>
#include <trivet/core/irq_router.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/driver_side.hpp>
#include <trivet/virtio/pci/config_space.hpp>
#include <trivet/virtio/pci/function.hpp>
#include <trivet/virtio/pci/msix.hpp>

namespace trivet::virtio {

/// What a device on the PCI transport is tied to. What is pointed to outlives the transport.
struct PciConfig {
  std::shared_ptr<const memory::MemoryMap> memory{};
  boost::asio::any_io_executor executor{};  ///< see DeviceHost
  IrqRouter* router = nullptr;              ///< gives the MSI-X vectors' routes
  std::uint32_t requester = 0;              ///< goes into the messages: segment << 16 | bus, device and function
  InterruptLine* line = nullptr;            ///< level-triggered, for drivers without MSI-X; null: there is no INTx
  Doorbells* doorbells = nullptr;           ///< null: each kick takes the way through `write_bar`
  ErrorLog log{};
  std::uint64_t withheld_features = 0;  ///< of rings and transports, not to be offered
  /// Offers VIRTIO_F_ADMIN_VQ: an administration queue behind the device's own (virtio 1.3, 2.13), on which each
  /// command is refused, for the function owns no groups.
  bool admin_queue = false;
};

/// A virtio device as a PCI function: the PCI transport, modern only (virtio 1.2, 4.1), with MSI-X and
/// VIRTIO_F_RING_RESET, NOTIFICATION_DATA and NOTIF_CONFIG_DATA. One 32-bit BAR holds all structures, each in a page of
/// its own; each queue has a notification address of its own. It knows its bus only as a BarListener: who owns it, and
/// by which mechanism the guest reaches it, is not its business.
///
/// How strictly the driver is taken is DriverSide's. A vector that cannot be mapped reads back as VIRTIO_MSI_NO_VECTOR
/// (4.1.5.1.2). Thread rule: as pci::Function; an access that activates or resets, or moves the BAR of a running
/// device, waits for the executor. Destroy it as DeviceHost says, when no vCPU can call any more.
class PciTransport final : public pci::Function, private TransportWiring {
 public:
  /// Where each structure lies in the BAR, in bytes.
  static constexpr unsigned bar = 0;
  static constexpr std::uint64_t bar_size = 0x8000;
  static constexpr std::uint32_t common_offset = 0x0000;
  static constexpr std::uint32_t isr_offset = 0x1000;
  static constexpr std::uint32_t device_offset = 0x2000;
  static constexpr std::uint32_t notify_offset = 0x3000;
  static constexpr std::uint32_t msix_table_offset = 0x4000;
  static constexpr std::uint32_t msix_pending_offset = 0x5000;
  /// The device's shared memory regions, if it has any, one behind the other: 64 bits wide. The owner of the bus may
  /// map them where the BAR is; what it does not map comes as accesses.
  static constexpr unsigned shared_memory_bar = 2;
  static constexpr std::uint32_t notify_multiplier = 4;  ///< bytes from one queue's notification address to the next's

  /// `invalid_argument` (caller) names what is missing or out of bounds; `limit`, `no_memory` (host).
  static Result<std::unique_ptr<PciTransport>> create(std::unique_ptr<Device> device, PciConfig config);
  ~PciTransport() override;

  void read_config(std::uint16_t offset, Bytes data) noexcept override;
  void write_config(std::uint16_t offset, ConstBytes data) noexcept override;
  [[nodiscard]] const std::array<pci::Bar, pci::bar_count>& bars() const noexcept override { return config_.bars(); }
  void read_bar(unsigned index, std::uint64_t offset, Bytes data) noexcept override;
  void write_bar(unsigned index, std::uint64_t offset, ConstBytes data) noexcept override;
  [[nodiscard]] std::vector<pci::BarMemory> bar_memory(unsigned index) const override;
  void listen(pci::BarListener* listener) noexcept override { listener_ = listener; }

  /// As if the driver wrote 0 to the status: the device lets go of guest memory.
  void reset() noexcept;

  /// The one that was given.
  [[nodiscard]] Device& device() noexcept { return device_; }
  /// Status bits as the driver reads them. Any thread.
  [[nodiscard]] std::uint32_t status() const noexcept { return side_.status(); }

 private:
  struct Kick {
    std::optional<Event> event;
    std::unique_ptr<Doorbell> doorbell;     // while the queue runs and the BAR is decoded
    std::atomic<bool> through_event{true};  // which of them the device waits for
    std::atomic<std::uint16_t> vector{0xffff};
  };

  PciTransport(Device& own, std::unique_ptr<Device> device, PciConfig config, DriverSide::Options options);
  Result<void> prepare();
  Result<void> add_capabilities();
  Result<void> add_shared_memory();
  Result<std::uint8_t> add_virtio_capability(std::uint8_t type, std::uint32_t offset, std::uint32_t length,
                                             ConstBytes more = {});
  void bar_may_have_moved();
  [[nodiscard]] bool through_window(std::uint16_t offset, std::size_t size) const noexcept;
  [[nodiscard]] std::uint32_t window_offset() const noexcept;

  void read_common(std::uint32_t offset, Bytes data) noexcept;
  void write_common(std::uint32_t offset, ConstBytes data) noexcept;
  bool write_common_field(std::uint32_t offset, std::size_t size, std::uint64_t value);
  bool write_queue_address(std::uint32_t offset, std::size_t size, std::uint64_t value);
  [[nodiscard]] std::uint16_t mapped(std::uint16_t vector) noexcept;
  void notify(std::uint64_t offset) noexcept;
  [[nodiscard]] std::byte take_isr() noexcept;
  void interrupt(std::uint16_t vector, std::uint8_t cause) noexcept;
  void update_line() noexcept;

  void used(unsigned queue) noexcept override;
  void config_changed() noexcept override;
  [[nodiscard]] int connect_queue(unsigned queue) noexcept override;
  void disconnect_queue(unsigned queue) noexcept override;
  void was_reset() noexcept override;

  static constexpr std::uint64_t nowhere = ~std::uint64_t{0};

  PciConfig wiring_;
  Device& device_;         // side_'s, or behind it
  unsigned admin_queues_;  // the last of the queues
  std::vector<Kick> kicks_;
  std::optional<pci::Msix> msix_;
  pci::BarListener* listener_ = nullptr;

  std::mutex config_mutex_;  // config_; taken before DriverSide's lock
  pci::ConfigSpace config_;
  std::uint8_t msix_capability_ = 0;
  std::uint8_t window_capability_ = 0;
  std::atomic<std::uint64_t> base_{nowhere};
  std::optional<GuestAddress> shared_memory_at_;  // with config_mutex_
  std::atomic<bool> line_disabled_{false};
  std::atomic<std::uint16_t> config_vector_{0xffff};
  std::atomic<std::uint8_t> isr_{0};
  DriverSide side_;  // before the kicks go, it lets go of them
};

}  // namespace trivet::virtio
