// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/abi/pci.hpp>
#include <trivet/virtio/pci_transport.hpp>

// Kicks in, interrupts out (virtio 1.2, 4.1.5.2 to 4.1.5.4).

namespace trivet::virtio {

// --- kicks ---

int PciTransport::connect_queue(unsigned queue) noexcept {
  auto& kick = kicks_[queue];
  const auto base = base_.load();
  if (wiring_.doorbells != nullptr && base != nowhere) {
    DoorbellSpec spec{.space = DoorbellSpec::Space::memory,
                      .at = {base + notify_offset + std::uint64_t{queue} * notify_multiplier}};
    // The address says which queue, so that any width will do, which hypervisors answer fastest.
    auto doorbell = wiring_.doorbells->create(spec);
    if (!doorbell && doorbell.error().code() == Errc::unsupported) {
      spec.size = (side_.features() & abi::f_notification_data) != 0 ? 4 : 2;
      doorbell = wiring_.doorbells->create(spec);
    }
    if (doorbell) {
      kick.doorbell = std::move(*doorbell);
      kick.through_event = false;
      return kick.doorbell->fd();
    }
    side_.host_error(doorbell.error());
  }
  kick.through_event = true;
  return kick.event->fd();
}

void PciTransport::disconnect_queue(unsigned queue) noexcept {
  kicks_[queue].through_event = true;
  kicks_[queue].doorbell.reset();
}

void PciTransport::notify(std::uint64_t offset) noexcept {
  const auto queue = offset / notify_multiplier;
  if (offset % notify_multiplier != 0 || queue >= kicks_.size()) {
    return side_.refuse("a notification at", static_cast<std::uint32_t>(offset));
  }
  const auto& kick = kicks_[queue];
  if (kick.through_event) {
    kick.event->signal();
    // If it was connected to a doorbell meanwhile, nobody may wait for the event any more.
    if (kick.through_event) return;
  }
  side_.kick(static_cast<unsigned>(queue));
}

// --- interrupts ---

void PciTransport::interrupt(std::uint16_t vector, std::uint8_t cause) noexcept {
  const bool messages = msix_->enabled();
  // 4.1.4.5.1: with MSI-X only configuration changes show in the ISR status.
  if (!messages || cause == abi::pci_isr_config) isr_.fetch_or(cause);
  if (!messages) return update_line();
  if (vector != abi::pci_no_vector) msix_->signal(vector);
}

std::byte PciTransport::take_isr() noexcept {
  const auto taken = isr_.exchange(0);
  update_line();
  return std::byte{taken};
}

/// Whoever changes what the level depends on calls this; the last one to set it looks again and finds it right.
void PciTransport::update_line() noexcept {
  if (wiring_.line == nullptr) return;
  const auto wanted = [this] { return isr_.load() != 0 && !msix_->enabled() && !line_disabled_.load(); };
  for (bool level = wanted();; level = !level) {
    if (const auto done = wiring_.line->set_level(level); !done) return side_.host_error(done.error());
    if (wanted() == level) return;
  }
}

void PciTransport::used(unsigned queue) noexcept {
  interrupt(kicks_[queue].vector.load(std::memory_order_relaxed), abi::pci_isr_queue);
}

void PciTransport::config_changed() noexcept {
  interrupt(config_vector_.load(std::memory_order_relaxed), abi::pci_isr_config);
}

void PciTransport::was_reset() noexcept {
  for (auto& kick : kicks_) kick.vector = abi::pci_no_vector;
  config_vector_ = abi::pci_no_vector;
  msix_->clear_pending();
  isr_ = 0;
  update_line();
}

}  // namespace trivet::virtio
