// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "irq_router.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <trivet/core/capability.hpp>

#include "interrupt_line.hpp"
#include "ioctl.hpp"
#include "layout_x86_64.hpp"

namespace trivet::kvm {
namespace {

constexpr auto line_operation = "make an interrupt line";
constexpr auto route_operation = "make a message route";
constexpr std::uint32_t message_is_level = 1U << 15;  // Intel SDM volume 3, 11.11.2

kvm_irq_routing_entry chip_entry(std::uint32_t gsi, std::uint32_t chip, std::uint32_t pin) {
  kvm_irq_routing_entry entry{};
  entry.gsi = gsi;
  entry.type = KVM_IRQ_ROUTING_IRQCHIP;
  entry.u.irqchip.irqchip = chip;
  entry.u.irqchip.pin = pin;
  return entry;
}

kvm_irq_routing_entry message_entry(std::uint32_t gsi, const MsiMessage& message) {
  kvm_irq_routing_entry entry{};
  entry.gsi = gsi;
  entry.type = KVM_IRQ_ROUTING_MSI;
  entry.u.msi.address_lo = static_cast<std::uint32_t>(message.address);
  entry.u.msi.address_hi = static_cast<std::uint32_t>(message.address >> 32);
  entry.u.msi.data = message.data;
  return entry;
}

/// The table that the kernel makes with its controllers: GSI n is pin n of the IOAPIC, and of the PICs below 16.
std::vector<kvm_irq_routing_entry> pins_of_controllers() {
  std::vector<kvm_irq_routing_entry> entries;
  for (std::uint32_t gsi = 0; gsi < layout::ioapic_pins; ++gsi) {
    entries.push_back(chip_entry(gsi, KVM_IRQCHIP_IOAPIC, gsi));
    if (gsi >= layout::pic_pins) continue;
    entries.push_back(chip_entry(gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi % 8));
  }
  return entries;
}

}  // namespace

Result<void> Router::connect(std::uint32_t gsi, int event_fd, int resample_fd) const {
  kvm_irqfd irqfd{};
  irqfd.fd = static_cast<std::uint32_t>(event_fd);
  irqfd.gsi = gsi;
  if (resample_fd >= 0) {
    irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
    irqfd.resamplefd = static_cast<std::uint32_t>(resample_fd);
  }
  return perform(context_.vm(), TRIVET_KVM_REQUEST(KVM_IRQFD, kvm_irqfd), &irqfd, "GSI " + std::to_string(gsi));
}

void Router::disconnect(std::uint32_t gsi, int event_fd) const noexcept {
  kvm_irqfd irqfd{};
  irqfd.fd = static_cast<std::uint32_t>(event_fd);
  irqfd.gsi = gsi;
  irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
  // Fails only for an irqfd that is not there.
  (void)::ioctl(context_.vm(), KVM_IRQFD, &irqfd);
}

Result<std::shared_ptr<Pin>> Router::pin(std::uint32_t gsi, Trigger trigger) {
  const std::scoped_lock lock(mutex_);
  auto& held = pins_[gsi];
  if (auto pin = held.lock()) {
    if (pin->trigger() == trigger) return pin;
    return Error(Errc::already_exists, line_operation, "GSI " + std::to_string(gsi) + " is held with another trigger");
  }
  auto pin = std::make_shared<Pin>(context_.vm(), gsi, trigger);
  held = pin;
  return pin;
}

Result<std::unique_ptr<InterruptLine>> Router::line(std::uint32_t gsi, Trigger trigger) {
  if (context_.config.irqchip != IrqchipKind::full) return Error::unsupported(line_operation, to_string(Cap::lines));
  if (gsi >= layout::ioapic_pins) {
    return Error(Errc::out_of_range, line_operation, "GSI " + std::to_string(gsi) + ": the controllers have 0 to 23");
  }
  if (trigger == Trigger::level_resample && context_.device.extension(KVM_CAP_IRQFD_RESAMPLE) == 0) {
    return Error::unsupported(line_operation, to_string(Cap::resample));
  }
  TRIVET_TRY(irqchip_.ensure());
  TRIVET_ASSIGN(auto shared, pin(gsi, trigger));
  return make_line(*this, gsi, std::move(shared));
}

std::pair<std::uint32_t, std::uint32_t> Router::gsis_for(const MsiMessage& message) const noexcept {
  const auto limit = static_cast<std::uint32_t>(context_.device.extension(KVM_CAP_IRQ_ROUTING));
  if (context_.config.irqchip == IrqchipKind::full) return {layout::ioapic_pins, limit};
  if ((message.data & message_is_level) != 0) return {0, layout::level_routes};
  return {layout::level_routes, limit};
}

Result<std::uint32_t> Router::free_gsi(const MsiMessage& message) const {
  const auto [first, end] = gsis_for(message);
  auto gsi = first;
  for (auto used = messages_.lower_bound(first); used != messages_.end() && used->first == gsi; ++used) ++gsi;
  // The kernel counts entries, and a pin of a PIC has two.
  const auto chip_entries = context_.config.irqchip == IrqchipKind::full ? layout::ioapic_pins + layout::pic_pins : 0;
  const auto limit = static_cast<std::size_t>(context_.device.extension(KVM_CAP_IRQ_ROUTING));
  if (gsi >= end || chip_entries + messages_.size() >= limit) {
    return Error(Errc::limit, route_operation, "KVM's table of " + std::to_string(end - first) + " such routes is full",
                 Blame::host);
  }
  return gsi;
}

Result<void> Router::write_table() const {
  std::vector<kvm_irq_routing_entry> entries;
  if (context_.config.irqchip == IrqchipKind::full) entries = pins_of_controllers();
  for (const auto& [gsi, message] : messages_) entries.push_back(message_entry(gsi, message));
  RoutingBuffer buffer(entries.size());
  buffer.header()->nr = static_cast<std::uint32_t>(entries.size());
  std::copy(entries.begin(), entries.end(), buffer.elements().begin());
  return perform(context_.vm(), TRIVET_KVM_REQUEST(KVM_SET_GSI_ROUTING, kvm_irq_routing), buffer.header());
}

Result<std::unique_ptr<MsiRoute>> Router::msi_route(const MsiMessage& message) {
  TRIVET_TRY(irqchip_.ensure());
  return make_route(*this, message);
}

Result<std::uint32_t> Router::insert(const MsiMessage& message) {
  TRIVET_ASSIGN(const auto gsi, free_gsi(message));
  messages_.emplace(gsi, message);
  if (const auto written = write_table(); !written) {
    messages_.erase(gsi);
    return written.error();
  }
  return gsi;
}

Result<std::uint32_t> Router::add_route(const MsiMessage& message, int event_fd) {
  const std::scoped_lock lock(mutex_);
  TRIVET_ASSIGN(const auto gsi, insert(message));
  if (const auto connected = connect(gsi, event_fd, -1); !connected) {
    messages_.erase(gsi);
    (void)write_table();
    return connected.error();
  }
  return gsi;
}

Result<void> Router::change_route(std::uint32_t& gsi, const MsiMessage& message, int event_fd) {
  const std::scoped_lock lock(mutex_);
  auto& kept = messages_.at(gsi);
  if (kept == message) return {};
  const auto [first, end] = gsis_for(message);
  if (gsi >= first && gsi < end) {
    const auto before = std::exchange(kept, message);
    auto written = write_table();
    if (!written) kept = before;
    return written;
  }
  TRIVET_ASSIGN(const auto other, insert(message));
  // A signal in between stays in the event, and the kernel finds it there when it is connected again.
  disconnect(gsi, event_fd);
  messages_.erase(gsi);
  gsi = other;
  TRIVET_TRY(connect(gsi, event_fd, -1));
  return write_table();
}

void Router::remove_route(const std::uint32_t& gsi, int event_fd) noexcept {
  const std::scoped_lock lock(mutex_);
  disconnect(gsi, event_fd);
  messages_.erase(gsi);
  // The kernel keeps the old table if it has no memory for a new one: then the route stays, and nobody signals it.
  (void)write_table();
}

Result<void> Router::signal_msi(const MsiMessage& message) noexcept {
  TRIVET_TRY(irqchip_.ensure());
  kvm_msi msi{};
  msi.address_lo = static_cast<std::uint32_t>(message.address);
  msi.address_hi = static_cast<std::uint32_t>(message.address >> 32);
  msi.data = message.data;
  // 0: the guest masked it, which is no error; less: refused.
  return perform(context_.vm(), TRIVET_KVM_REQUEST(KVM_SIGNAL_MSI, kvm_msi), &msi);
}

}  // namespace trivet::kvm
