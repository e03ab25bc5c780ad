// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/hypervisor.hpp>
#include <trivet/core/irqchip.hpp>
#include <trivet/core/result.hpp>
#include <trivet/vmm/config.hpp>

namespace trivet::vmm {

/// By which transport the guest finds its virtio devices.
enum class VirtioTransport { mmio, pci };

/// What `--platform` comes to on one hypervisor.
struct PlatformChoice {
  IrqchipKind irqchip = IrqchipKind::full;
  VirtioTransport virtio = VirtioTransport::mmio;
  bool lines = true;            ///< the guest has an I/O APIC, in the hypervisor or ours
  bool own_ioapic = false;      ///< the hypervisor has none, and tells what ours needs to know
  bool own_pic = false;         ///< the same for PICs
  bool hypervisor_pit = false;  ///< its interval timer is wanted, beside its PICs
};

/// `auto` takes what the hypervisor can: all interrupt controllers in it, else split; MMIO where it has lines, else
/// PCI. Where it has only local APICs, the lines are those of an I/O APIC of ours, if it tells of interrupts' ends, and
/// of PICs, if it takes their interrupts. `firmware`: the guest starts with one, which needs PICs and a PIT, and finds
/// its disk on PCI unless told otherwise.
/// `unsupported` names what it lacks (caller).
Result<PlatformChoice> choose_platform(const PlatformConfig& wanted, const Hypervisor& hypervisor,
                                       bool firmware = false);

}  // namespace trivet::vmm
