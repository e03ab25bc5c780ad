// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <trivet/memory/mapping.hpp>
#include <trivet/virtio/device.hpp>

namespace trivet::test {

/// A device that has nothing but memory to share: given regions, or its own.
class SharingDevice final : public virtio::Device {
 public:
  explicit SharingDevice(std::vector<virtio::SharedMemory> regions) : regions_(std::move(regions)) {}
  /// One region, with id 0, of memory that goes with the device.
  explicit SharingDevice(memory::Mapping own)
      : own_(std::move(own)), regions_{{.id = 0, .length = own_->size(), .host = own_->data()}} {}

  [[nodiscard]] std::uint32_t id() const noexcept override { return 26; }
  [[nodiscard]] std::string_view name() const noexcept override { return "sharing"; }
  [[nodiscard]] std::uint64_t features() const noexcept override { return 0; }
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const noexcept override { return {}; }
  [[nodiscard]] std::span<const virtio::SharedMemory> shared_memory() const noexcept override { return regions_; }
  void read_config(std::uint32_t, Bytes out) const noexcept override { std::ranges::fill(out, std::byte{0}); }
  void write_config(std::uint32_t, ConstBytes) noexcept override {}
  Result<void> activate(virtio::Activation) override { return {}; }
  Result<void> start_queue(virtio::Queue) override { return {}; }
  std::optional<virtio::Queue> stop_queue(unsigned) noexcept override { return std::nullopt; }
  Result<virtio::More> process(unsigned) override { return virtio::More::no; }
  void reset() noexcept override {}

 private:
  std::optional<memory::Mapping> own_;
  std::vector<virtio::SharedMemory> regions_;
};

}  // namespace trivet::test
