// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "virtio_pci.hpp"

#include "cpu.hpp"
#include "interrupts.hpp"
#include "lapic.hpp"

namespace guest {
namespace {

// virtio 1.2, 4.1.4.3
constexpr std::uint32_t device_feature_select = 0x00, device_feature = 0x04, driver_feature_select = 0x08,
                        driver_feature = 0x0c, device_status = 0x14, config_generation = 0x15, queue_select = 0x16,
                        queue_size = 0x18, queue_vector = 0x1a, queue_enable = 0x1c, queue_notify_off = 0x1e,
                        queue_descriptors = 0x20, queue_driver = 0x28, queue_device = 0x30;
constexpr std::uint16_t vendor = 0x1af4, first_device = 0x1040;
// PCI 3.0, 6.1 and 6.8.2
constexpr std::uint32_t command = 0x04, bar0 = 0x10, capabilities = 0x34;
constexpr std::uint32_t memory_and_master = 6;
constexpr std::uint8_t vendor_capability = 0x09, msix_capability = 0x11;
constexpr std::uint32_t msix_enable = 1u << 31;  // of the capability's first word

constexpr std::uint8_t vector = 0x71;
constexpr std::uint64_t patience = 20'000'000'000;  // TSC ticks
volatile std::uint32_t interrupts = 0;

void on_interrupt(InterruptFrame&) {
  interrupts = interrupts + 1;
  lapic_end_of_interrupt();
}

}  // namespace

std::uint64_t VirtioPci::address_of(std::uint32_t bar, std::uint32_t offset) const {
  if (bar > 5) return 0;
  return (pci_read32(where_, bar0 + 4 * bar) & ~0xfu) + std::uint64_t{offset};
}

void VirtioPci::read_capability(std::uint32_t at) {
  std::uint8_t id = pci_read8(where_, at);
  if (id == msix_capability) {
    msix_ = at;
    std::uint32_t table = pci_read32(where_, at + 4);
    table_ = address_of(table & 7, table & ~7u);
  }
  if (id != vendor_capability) return;
  std::uint64_t address = address_of(pci_read8(where_, at + 4), pci_read32(where_, at + 8));
  switch (pci_read8(where_, at + 3)) {
    case 1:
      common_ = address;
      break;
    case 2:
      notify_ = address;
      multiplier_ = pci_read32(where_, at + 16);
      break;
    case 4:
      device_ = address;
      break;
    default:
      break;
  }
}

bool VirtioPci::find(PciFunction where) {
  where_ = where;
  if (pci_read16(where, 0) != vendor || pci_read16(where, 2) < first_device) return false;
  pci_write32(where, command, memory_and_master);
  bar_ = address_of(0, 0);
  std::uint32_t at = pci_read8(where, capabilities);
  for (int hops = 0; at != 0 && hops < 48; ++hops) {
    read_capability(at);
    at = pci_read8(where, at + 1);
  }
  return common_ != 0 && notify_ != 0 && device_ != 0;
}

std::uint32_t VirtioPci::id() {
  return pci_read16(where_, 2) - first_device;
}
std::uint32_t VirtioPci::offered(std::uint32_t page) {
  write32(common_ + device_feature_select, page);
  return read32(common_ + device_feature);
}
void VirtioPci::accept(std::uint32_t page, std::uint32_t features) {
  write32(common_ + driver_feature_select, page);
  write32(common_ + driver_feature, features);
}
std::uint32_t VirtioPci::status() {
  return read8(common_ + device_status);
}
void VirtioPci::set_status(std::uint32_t value) {
  write8(common_ + device_status, static_cast<std::uint8_t>(value));
}

std::uint32_t VirtioPci::select_queue(std::uint32_t index) {
  selected_ = index;
  write16(common_ + queue_select, static_cast<std::uint16_t>(index));
  return index >= most_queues || read16(common_ + queue_enable) != 0 ? 0u : read16(common_ + queue_size);
}

void VirtioPci::set_address(std::uint32_t offset, const void* address) {
  auto value = reinterpret_cast<std::uint64_t>(address);
  write32(common_ + offset, static_cast<std::uint32_t>(value));
  write32(common_ + offset + 4, static_cast<std::uint32_t>(value >> 32));
}

bool VirtioPci::enable_queue(std::uint16_t size, const void* descriptors, const void* driver, const void* device) {
  write16(common_ + queue_size, size);
  set_address(queue_descriptors, descriptors);
  set_address(queue_driver, driver);
  set_address(queue_device, device);
  if (msix_ != 0) {
    write16(common_ + queue_vector, 0);
    if (read16(common_ + queue_vector) != 0) return false;  // 4.1.5.1.2: it could not be mapped
  }
  doorbells_[selected_] = notify_ + std::uint64_t{read16(common_ + queue_notify_off)} * multiplier_;
  write16(common_ + queue_enable, 1);
  return read16(common_ + queue_enable) == 1;
}

void VirtioPci::notify(std::uint32_t queue) {
  write16(doorbells_[queue], static_cast<std::uint16_t>(queue));
}
std::uint32_t VirtioPci::config32(std::uint32_t offset) {
  return read32(device_ + offset);
}
std::uint32_t VirtioPci::generation() {
  return read8(common_ + config_generation);
}

bool VirtioPci::start_interrupts() {
  if (msix_ == 0) return false;
  set_handler(vector, on_interrupt);
  interrupts = 0;
  pci_write32(where_, msix_, pci_read32(where_, msix_) | msix_enable);
  write32(table_, 0xfee00000u | lapic_id() << 12);
  write32(table_ + 4, 0);
  write32(table_ + 8, vector);
  write32(table_ + 12, 0);
  return true;
}

bool VirtioPci::took_interrupt() {
  std::uint64_t start = rdtsc();
  enable_interrupts();
  while (interrupts == 0 && rdtsc() - start < patience) pause();
  disable_interrupts();
  bool came = interrupts != 0;
  interrupts = 0;
  return came;
}

void VirtioPci::stop() {
  set_status(0);
  if (msix_ != 0) pci_write32(where_, msix_, pci_read32(where_, msix_) & ~msix_enable);
}

}  // namespace guest
