// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/test/device_bench.hpp>
#include <trivet/test/test_router.hpp>
#include <trivet/virtio/abi/pci.hpp>
#include <trivet/virtio/pci_transport.hpp>

namespace trivet::test {

/// A device on the PCI transport. The driver finds its way through the capabilities as a guest's does and takes a
/// vector for the configuration (0) and one for each queue (1 + n), whose messages carry `first_data` + vector.
class PciBench final : public DeviceBench {
 public:
  static constexpr std::uint32_t base = 0xd8000000;
  static constexpr std::uint32_t first_data = 0x40;

  explicit PciBench(std::unique_ptr<virtio::Device> device, Doorbells* doorbells = nullptr, bool track_dirty = false,
                    InterruptLine* intx = nullptr, std::uint64_t withheld = 0, bool admin_queue = false)
      : DeviceBench(track_dirty) {
    router.on_raise = [this] { (void)line.signal(); };
    auto made = virtio::PciTransport::create(std::move(device), {.memory = guest.map(),
                                                                 .executor = loop.get_executor(),
                                                                 .router = &router,
                                                                 .requester = 0x18,
                                                                 .line = intx,
                                                                 .doorbells = doorbells,
                                                                 .log = [this](const Error& error) { note(error); },
                                                                 .withheld_features = withheld,
                                                                 .admin_queue = admin_queue});
    if (!made) throw std::runtime_error(to_string(made.error()));
    transport = std::move(*made);
    start_loop();
    set_space<std::uint32_t>(pci::reg::bar0, base);
    set_space<std::uint16_t>(pci::reg::command, pci::reg::command_memory | pci::reg::command_bus_master);
    walk_capabilities();
  }
  ~PciBench() override {
    stop_loop();
    transport.reset();
  }

  /// \name Configuration space and BAR
  /// @{
  template <class T>
  [[nodiscard]] T space(std::uint64_t offset) {
    T value{};
    transport->read_config(static_cast<std::uint16_t>(offset), std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <class T>
  void set_space(std::uint64_t offset, T value) {
    transport->write_config(static_cast<std::uint16_t>(offset), std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  [[nodiscard]] T bar(std::uint64_t offset) {
    T value{};
    transport->read_bar(0, offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <class T>
  void set_bar(std::uint64_t offset, T value) {
    transport->write_bar(0, offset, std::as_bytes(std::span(&value, 1)));
  }
  /// A field of the common configuration.
  template <class T>
  [[nodiscard]] T common(std::uint64_t field) {
    return bar<T>(common_at + field);
  }
  template <class T>
  void set_common(std::uint64_t field, T value) {
    set_bar<T>(common_at + field, value);
  }
  /// Writes one entry of the table.
  void set_vector(std::uint32_t vector, std::uint32_t data, bool masked) {
    const auto at = table_at + std::uint64_t{16} * vector;
    set_bar<std::uint32_t>(at + 12, 1);
    set_bar<std::uint64_t>(at, 0xfee00000);
    set_bar<std::uint32_t>(at + 8, data);
    set_bar<std::uint32_t>(at + 12, masked ? 1 : 0);
  }
  void set_msix_control(std::uint16_t bits) { set_space<std::uint16_t>(msix_capability + 2, bits); }
  /// @}

  [[nodiscard]] std::uint32_t status() override { return common<std::uint8_t>(0x14); }
  void set_status(std::uint32_t value) override { set_common(0x14, static_cast<std::uint8_t>(value)); }
  [[nodiscard]] std::uint64_t offered() override {
    set_common<std::uint32_t>(0x00, 0);
    const std::uint64_t low = common<std::uint32_t>(0x04);
    set_common<std::uint32_t>(0x00, 1);
    return low | std::uint64_t{common<std::uint32_t>(0x04)} << 32;
  }
  void set_features(std::uint64_t features) override {
    set_common<std::uint32_t>(0x08, 0);
    set_common(0x0c, static_cast<std::uint32_t>(features));
    set_common<std::uint32_t>(0x08, 1);
    set_common(0x0c, static_cast<std::uint32_t>(features >> 32));
  }
  void describe_queue(unsigned index, const Driver& driver) override {
    select(index);
    set_common<std::uint16_t>(0x18, driver.size());
    set_common<std::uint16_t>(0x1a, static_cast<std::uint16_t>(with_vectors ? index + 1 : 0xffff));
    set_common(0x20, driver.descriptor_area().value);
    set_common(0x28, static_cast<std::uint32_t>(driver.driver_area().value));
    set_common(0x2c, static_cast<std::uint32_t>(driver.driver_area().value >> 32));
    set_common(0x30, driver.device_area().value);
  }
  void enable_queue(unsigned index) override {
    select(index);
    set_common<std::uint16_t>(0x1c, 1);
  }
  [[nodiscard]] bool queue_enabled(unsigned index) override {
    select(index);
    return common<std::uint16_t>(0x1c) == 1;
  }
  void reset_queue(unsigned index) override {
    select(index);
    set_common<std::uint16_t>(0x3a, 1);
  }
  void kick(unsigned index) override {
    select(index);
    const auto at = notify_at + std::uint64_t{common<std::uint16_t>(0x1e)} * multiplier;
    // 4.1.5.2: the device says what the driver calls the queue.
    const std::uint32_t name = has(virtio::abi::f_notif_config_data) ? common<std::uint16_t>(0x38) : index;
    if (has(virtio::abi::f_notification_data)) return set_bar(at, notification(index, name));
    set_bar(at, static_cast<std::uint16_t>(name));
  }
  [[nodiscard]] std::uint32_t generation() override { return common<std::uint8_t>(0x15); }
  bool take_config_change() override {
    const auto now = router.count(first_data);
    return std::exchange(config_changes_, now) != now;
  }
  void read_config(std::uint64_t offset, Bytes out) override { transport->read_bar(0, device_at + offset, out); }
  void write_config(std::uint64_t offset, ConstBytes in) override { transport->write_bar(0, device_at + offset, in); }

  TestRouter router;
  std::unique_ptr<virtio::PciTransport> transport;
  bool with_vectors = true;  ///< else the driver uses INTx
  std::uint64_t common_at = 0, notify_at = 0, isr_at = 0, device_at = 0, table_at = 0, pending_at = 0;
  std::uint32_t multiplier = 0;
  std::uint8_t window_capability = 0, msix_capability = 0;

 private:
  void select(unsigned index) { set_common(0x16, static_cast<std::uint16_t>(index)); }

  void prepare_interrupts() override {
    if (!with_vectors) return;
    set_msix_control(pci::reg::msix_control_enable);
    const auto vectors = 1U + (space<std::uint16_t>(msix_capability + 2) & 0x7ffU);
    for (std::uint32_t vector = 0; vector < vectors; ++vector) set_vector(vector, first_data + vector, false);
    set_common<std::uint16_t>(0x10, 0);
  }

  void walk_capabilities() {
    for (auto at = space<std::uint8_t>(pci::reg::capabilities); at != 0; at = space<std::uint8_t>(at + 1U)) {
      const auto id = space<std::uint8_t>(at);
      if (id == pci::reg::capability_msix) {
        msix_capability = at;
        table_at = space<std::uint32_t>(at + 4U) & ~7U;
        pending_at = space<std::uint32_t>(at + 8U) & ~7U;
      }
      if (id != pci::reg::capability_vendor) continue;
      const std::uint64_t offset = space<std::uint32_t>(at + 8U);
      switch (space<std::uint8_t>(at + 3U)) {
        case virtio::abi::pci_cap_common_cfg:
          common_at = offset;
          break;
        case virtio::abi::pci_cap_notify_cfg:
          notify_at = offset;
          multiplier = space<std::uint32_t>(at + 16U);
          break;
        case virtio::abi::pci_cap_isr_cfg:
          isr_at = offset;
          break;
        case virtio::abi::pci_cap_device_cfg:
          device_at = offset;
          break;
        case virtio::abi::pci_cap_pci_cfg:
          window_capability = at;
          break;
        default:
          throw std::runtime_error("a capability of an unknown type");
      }
    }
  }

  std::size_t config_changes_ = 0;
};

}  // namespace trivet::test
