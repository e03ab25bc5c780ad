// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>

#include <trivet/vmm/bus_io.hpp>

namespace trivet::vmm {

void BusIo::read(const Bus& bus, std::uint64_t at, Bytes data) noexcept {
  count(accesses_);
  if (const auto* entry = bus.find(at, data.size())) {
    entry->device->read(at - entry->first, data);
    return;
  }
  count(unclaimed_);
  std::fill(data.begin(), data.end(), std::byte{0xff});
}

void BusIo::write(const Bus& bus, std::uint64_t at, ConstBytes data) noexcept {
  count(accesses_);
  if (const auto* entry = bus.find(at, data.size())) {
    entry->device->write(at - entry->first, data);
    return;
  }
  count(unclaimed_);
}

void BusIo::pio_read(std::uint16_t port, Bytes data) noexcept {
  read(targets_.ports, port, data);
}
void BusIo::pio_write(std::uint16_t port, ConstBytes data) noexcept {
  write(targets_.ports, port, data);
}
void BusIo::mmio_read(GuestAddress at, Bytes data) noexcept {
  read(targets_.addresses, at.value, data);
}
void BusIo::mmio_write(GuestAddress at, ConstBytes data, Posted) noexcept {
  write(targets_.addresses, at.value, data);
}

void BusIo::pci_config_read(const PciAddress& function, std::uint16_t offset, Bytes data) noexcept {
  count(accesses_);
  if (targets_.pci != nullptr) return targets_.pci->read(function, offset, data);
  count(unclaimed_);
  std::fill(data.begin(), data.end(), std::byte{0xff});
}

void BusIo::pci_config_write(const PciAddress& function, std::uint16_t offset, ConstBytes data) noexcept {
  count(accesses_);
  if (targets_.pci != nullptr) return targets_.pci->write(function, offset, data);
  count(unclaimed_);
}

void BusIo::end_of_interrupt(std::uint8_t vector) noexcept {
  if (targets_.ioapic != nullptr) targets_.ioapic->end_of_interrupt(vector);
}

std::optional<std::uint8_t> BusIo::acknowledge_interrupt() noexcept {
  return targets_.pic != nullptr ? targets_.pic->acknowledge() : std::nullopt;
}

void BusIo::pages_removed() noexcept {
  if (targets_.memory != nullptr) targets_.memory->drop_windows();
}

}  // namespace trivet::vmm
