// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <trivet/virtio/admin_commands.hpp>
#include <trivet/virtio/device.hpp>

namespace trivet::virtio {

/// A device with an administration queue behind its own queues (virtio 1.3, 2.13); all else is the device's. It owns no
/// groups, and each command is refused as such. Thread rule: as Device.
class AdministeredDevice final : public Device {
 public:
  static constexpr std::uint16_t admin_queue_size = 64;

  explicit AdministeredDevice(std::unique_ptr<Device> device);

  [[nodiscard]] Device& own() const noexcept { return *device_; }

  [[nodiscard]] std::uint32_t id() const noexcept override { return device_->id(); }
  [[nodiscard]] std::string_view name() const noexcept override { return device_->name(); }
  [[nodiscard]] std::uint64_t features() const noexcept override { return device_->features(); }
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const noexcept override { return sizes_; }
  [[nodiscard]] std::span<const SharedMemory> shared_memory() const noexcept override {
    return device_->shared_memory();
  }
  void read_config(std::uint32_t offset, Bytes out) const noexcept override { device_->read_config(offset, out); }
  void write_config(std::uint32_t offset, ConstBytes in) noexcept override { device_->write_config(offset, in); }
  [[nodiscard]] std::uint32_t config_generation() const noexcept override { return device_->config_generation(); }

  Result<void> activate(Activation activation) override;
  Result<void> start_queue(Queue queue) override;
  std::optional<Queue> stop_queue(unsigned index) noexcept override;
  Result<More> process(unsigned index) override;
  void reset() noexcept override;

 private:
  [[nodiscard]] unsigned admin_index() const noexcept { return static_cast<unsigned>(sizes_.size()) - 1; }
  Result<bool> serve();

  std::unique_ptr<Device> device_;
  std::vector<std::uint16_t> sizes_;  // its queues', then the administration queue's
  AdminCommands commands_{{}};
  Notifier* notifier_ = nullptr;
  std::optional<Queue> queue_;
};

}  // namespace trivet::virtio
