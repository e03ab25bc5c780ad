// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "irq_router.hpp"

#include <cerrno>
#include <string>
#include <utility>

#include <trivet/core/capability.hpp>

#include "interrupt_line.hpp"

namespace trivet::xen {
namespace {

constexpr auto line_operation = "make an interrupt line";

}  // namespace

Result<std::shared_ptr<Pin>> Router::pin(std::uint32_t gsi, const Wire& wire, Trigger trigger) {
  const std::scoped_lock lock(mutex_);
  auto& held = pins_[gsi];
  if (auto pin = held.lock()) {
    if (pin->trigger() == trigger) return pin;
    return Error(Errc::already_exists, line_operation, "GSI " + std::to_string(gsi) + " is held with another trigger");
  }
  auto pin = std::make_shared<Pin>(context_, wire, trigger);
  held = pin;
  return pin;
}

Result<std::unique_ptr<InterruptLine>> Router::line(std::uint32_t gsi, Trigger trigger) {
  if (!context_.has_lines()) {
    return Error::unsupported(line_operation,
                              std::string(to_string(Cap::lines)) +
                                  (context_.attached() ? ": whether the domain has any, only its toolstack knows"
                                                       : ": a PVH domain has LAPICs only; use messages (MSI)"));
  }
  if (trigger == Trigger::level_resample) return Error::unsupported(line_operation, to_string(Cap::resample));
  const auto wire = wire_of(gsi);
  if (!wire) {
    return Error(Errc::out_of_range, line_operation, "GSI " + std::to_string(gsi) + ": Xen has wires to 1 to 47");
  }
  TRIVET_ASSIGN(auto shared, pin(gsi, *wire, trigger));
  return make_line(std::move(shared));
}

Result<std::unique_ptr<MsiRoute>> Router::msi_route(const MsiMessage& message) {
  return make_route(*this, message);
}

Result<void> Router::signal_msi(const MsiMessage& message) noexcept {
  if (xendevicemodel_inject_msi(context_.device_model(), context_.domain, message.address, message.data) == 0)
    return {};
  return Error::from_errno(errno, "raise a message-signalled interrupt");
}

/// An HVM guest that asked Xen for a pirq writes its number as the destination, with vector 0; Xen takes every such
/// message for one, whatever its delivery mode. The mode tells it from an entry half written: up to Linux 5.10 it is 3
/// (reserved), edge and asserted; since, 7 (ExtINT) and nothing else.
/// Source: Linux arch/x86/pci/xen.c, xen_msi_compose_msg; xen/arch/x86/hvm/irq.c, hvm_inject_msi.
bool Router::masked_elsewhere(const MsiMessage& message) const noexcept {
  constexpr std::uint32_t vector_bits = 0xff;
  constexpr std::uint32_t pirq_mode = 0x300;  // what 3 and 7 have in common
  constexpr std::uint64_t destination_bits = 0xffff'ff00'000f'f000;
  return (message.data & vector_bits) == 0 && (message.data & pirq_mode) == pirq_mode &&
         (message.address & destination_bits) != 0;
}

}  // namespace trivet::xen
