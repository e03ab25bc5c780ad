// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "platform_choice.hpp"

#include <fmt/format.h>

#include <trivet/core/capability.hpp>

namespace trivet::vmm {
namespace {

Error lacks(const Hypervisor& hypervisor, std::string_view option, Cap cap) {
  return Error::unsupported("choose the platform",
                            fmt::format("platform {}: {} has no {}", option, hypervisor.name(), to_string(cap)));
}

}  // namespace

Result<PlatformChoice> choose_platform(const PlatformConfig& wanted, const Hypervisor& hypervisor, bool firmware) {
  const auto has = [&](Cap cap) { return hypervisor.supports(cap) != Support::no; };
  PlatformChoice choice;
  const bool full = wanted.irqchip == "full" || (wanted.irqchip == "auto" && has(Cap::irqchip_full));
  choice.irqchip = full ? IrqchipKind::full : IrqchipKind::split;
  if (full && !has(Cap::irqchip_full)) return lacks(hypervisor, "irqchip=full", Cap::irqchip_full);
  if (!full && !has(Cap::irqchip_split)) return lacks(hypervisor, "irqchip=split", Cap::irqchip_split);

  choice.own_ioapic = !full && has(Cap::msi) && has(Cap::interrupt_ends);
  choice.own_pic = choice.own_ioapic && has(Cap::external_interrupts);
  choice.lines = choice.own_ioapic || (full && has(Cap::lines));
  choice.hypervisor_pit = firmware && full;
  if (firmware && full && !has(Cap::pit)) return lacks(hypervisor, "irqchip=full, for firmware", Cap::pit);
  if (firmware && !full && !choice.own_pic) {
    return lacks(hypervisor, "irqchip=split, for firmware", Cap::external_interrupts);
  }
  // Messages take the shorter way to a local APIC where the pins are ours.
  const bool open = wanted.virtio == "auto" && !wanted.admin_queue;
  const bool mmio = wanted.virtio == "mmio" || (open && full && choice.lines && !firmware);
  choice.virtio = mmio ? VirtioTransport::mmio : VirtioTransport::pci;
  if (mmio && !choice.lines) {
    return lacks(hypervisor, "virtio=mmio with these interrupt controllers", full ? Cap::lines : Cap::interrupt_ends);
  }
  if (!mmio && !has(Cap::msi)) return lacks(hypervisor, "virtio=pci", Cap::msi);
  return choice;
}

}  // namespace trivet::vmm
