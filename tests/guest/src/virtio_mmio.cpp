// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "virtio_mmio.hpp"

#include "cpu.hpp"

namespace guest {
namespace {

// virtio 1.2, 4.2.2
constexpr std::uint32_t magic_value = 0x000, version = 0x004, device_id = 0x008, device_features = 0x010,
                        device_features_select = 0x014, driver_features = 0x020, driver_features_select = 0x024,
                        queue_select = 0x030, queue_size_max = 0x034, queue_size = 0x038, queue_ready = 0x044,
                        queue_notify = 0x050, interrupt_status = 0x060, interrupt_ack = 0x064, device_status = 0x070,
                        queue_descriptors = 0x080, queue_driver = 0x090, queue_device = 0x0a0,
                        config_generation = 0x0fc, config = 0x100;

}  // namespace

std::uint32_t VirtioMmio::reg(std::uint32_t offset) const {
  return read32(base_ + offset);
}
void VirtioMmio::set_reg(std::uint32_t offset, std::uint32_t value) {
  write32(base_ + offset, value);
}
void VirtioMmio::set_address(std::uint32_t offset, const void* address) {
  auto value = reinterpret_cast<std::uint64_t>(address);
  set_reg(offset, static_cast<std::uint32_t>(value));
  set_reg(offset + 4, static_cast<std::uint32_t>(value >> 32));
}

bool VirtioMmio::find(const MmioDevice& where) {
  base_ = where.address;
  if (base_ == 0 || base_ >= 0x1'0000'0000) return false;
  return reg(magic_value) == 0x74726976 && reg(version) == 2 && reg(device_id) != 0;
}

std::uint32_t VirtioMmio::id() {
  return reg(device_id);
}
std::uint32_t VirtioMmio::offered(std::uint32_t page) {
  set_reg(device_features_select, page);
  return reg(device_features);
}
void VirtioMmio::accept(std::uint32_t page, std::uint32_t features) {
  set_reg(driver_features_select, page);
  set_reg(driver_features, features);
}
std::uint32_t VirtioMmio::status() {
  return reg(device_status);
}
void VirtioMmio::set_status(std::uint32_t value) {
  set_reg(device_status, value);
}
std::uint32_t VirtioMmio::select_queue(std::uint32_t index) {
  set_reg(queue_select, index);
  return reg(queue_ready) != 0 ? 0 : reg(queue_size_max);
}
bool VirtioMmio::enable_queue(std::uint16_t size, const void* descriptors, const void* driver, const void* device) {
  set_reg(queue_size, size);
  set_address(queue_descriptors, descriptors);
  set_address(queue_driver, driver);
  set_address(queue_device, device);
  set_reg(queue_ready, 1);
  return true;
}
void VirtioMmio::notify(std::uint32_t queue) {
  set_reg(queue_notify, queue);
}
std::uint32_t VirtioMmio::config32(std::uint32_t offset) {
  return reg(config + offset);
}
std::uint32_t VirtioMmio::generation() {
  return reg(config_generation);
}
void VirtioMmio::stop() {
  set_reg(interrupt_ack, reg(interrupt_status));
  set_reg(device_status, 0);
}

}  // namespace guest
