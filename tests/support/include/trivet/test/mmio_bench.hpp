// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/test/device_bench.hpp>
#include <trivet/virtio/abi/mmio.hpp>
#include <trivet/virtio/mmio_transport.hpp>

namespace trivet::test {

/// A device on the MMIO transport.
class MmioBench final : public DeviceBench {
 public:
  static constexpr std::uint64_t base = 0xd0000000;

  explicit MmioBench(std::unique_ptr<virtio::Device> device, Doorbells* doorbells = nullptr, bool track_dirty = false,
                     std::uint64_t withheld = 0)
      : DeviceBench(track_dirty) {
    auto made = virtio::MmioTransport::create(std::move(device), {.base = {base},
                                                                  .memory = guest.map(),
                                                                  .executor = loop.get_executor(),
                                                                  .interrupt = &line,
                                                                  .doorbells = doorbells,
                                                                  .log = [this](const Error& error) { note(error); },
                                                                  .withheld_features = withheld});
    if (!made) throw std::runtime_error(to_string(made.error()));
    transport = std::move(*made);
    start_loop();
  }
  ~MmioBench() override {
    stop_loop();
    transport.reset();
  }

  [[nodiscard]] std::uint32_t read(std::uint64_t offset) {
    std::uint32_t value = 0;
    transport->read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  void write(std::uint64_t offset, std::uint32_t value) {
    transport->write(offset, std::as_bytes(std::span(&value, 1)));
  }

  [[nodiscard]] std::uint32_t status() override { return read(0x70); }
  void set_status(std::uint32_t value) override { write(0x70, value); }
  [[nodiscard]] std::uint64_t offered() override {
    write(0x14, 0);
    const std::uint64_t low = read(0x10);
    write(0x14, 1);
    return low | std::uint64_t{read(0x10)} << 32;
  }
  void set_features(std::uint64_t features) override {
    write(0x24, 0);
    write(0x20, static_cast<std::uint32_t>(features));
    write(0x24, 1);
    write(0x20, static_cast<std::uint32_t>(features >> 32));
  }
  void describe_queue(unsigned index, const Driver& driver) override {
    write(0x30, index);
    write(0x38, driver.size());
    write_address(0x80, driver.descriptor_area());
    write_address(0x90, driver.driver_area());
    write_address(0xa0, driver.device_area());
  }
  void enable_queue(unsigned index) override {
    write(0x30, index);
    write(0x44, 1);
  }
  [[nodiscard]] bool queue_enabled(unsigned index) override {
    write(0x30, index);
    return read(0x44) == 1;
  }
  void reset_queue(unsigned index) override {
    write(0x30, index);
    write(0xc0, 1);
  }
  void kick(unsigned index) override { write(0x50, notification(index, index)); }
  [[nodiscard]] std::uint32_t generation() override { return read(0xfc); }
  bool take_config_change() override {
    const bool changed = (read(0x60) & virtio::abi::interrupt_config) != 0;
    write(0x64, virtio::abi::interrupt_config);
    return changed;
  }
  void read_config(std::uint64_t offset, Bytes out) override {
    transport->read(virtio::abi::mmio_config_offset + offset, out);
  }
  void write_config(std::uint64_t offset, ConstBytes in) override {
    transport->write(virtio::abi::mmio_config_offset + offset, in);
  }

  std::unique_ptr<virtio::MmioTransport> transport;

 private:
  void write_address(std::uint64_t offset, GuestAddress at) {
    write(offset, static_cast<std::uint32_t>(at.value));
    write(offset + 4, static_cast<std::uint32_t>(at.value >> 32));
  }
};

}  // namespace trivet::test
