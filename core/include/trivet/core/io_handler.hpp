// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include <trivet/core/address.hpp>
#include <trivet/core/bytes.hpp>
#include <trivet/core/pci_address.hpp>

namespace trivet {

/// Whether a write waits for its effect. A posted one was batched by the hypervisor: the guest has already gone on.
enum class Posted : bool { no, yes };

/// Where a runner takes the guest's port and memory accesses (P3).
///
/// `data` is 1, 2, 4 or 8 bytes, little-endian as the guest sees it; ports 1, 2 or 4. One instruction may make several
/// accesses; each comes as its own call, in order. An access crossing pages or naturally unaligned comes as the
/// hypervisor splits it. An address nobody claims: reads fill with 0xff, writes are dropped; the handler counts them.
/// Thread rule: called on the thread that is in `Runner::run` or `Runner::drain`; two runners may call at the same
/// time. Must not throw, and must not call back into the runner that calls it.
class IoHandler {
 public:
  virtual void pio_read(std::uint16_t port, Bytes data) noexcept = 0;
  virtual void pio_write(std::uint16_t port, ConstBytes data) noexcept = 0;
  virtual void mmio_read(GuestAddress at, Bytes data) noexcept = 0;
  virtual void mmio_write(GuestAddress at, ConstBytes data, Posted posted) noexcept = 0;

  /// Configuration space of a function that `IoClaims::claim_pci` named, `offset` bytes in; only from a hypervisor that
  /// decodes the configuration mechanism itself. `data` is 1, 2 or 4 bytes and crosses no 4-byte boundary.
  virtual void pci_config_read(const PciAddress& function, std::uint16_t offset, Bytes data) noexcept {
    (void)function, (void)offset;
    std::fill(data.begin(), data.end(), std::byte{0xff});
  }
  virtual void pci_config_write(const PciAddress& function, std::uint16_t offset, ConstBytes data) noexcept {
    (void)function, (void)offset, (void)data;
  }

  /// The hypervisor took pages out of the guest: whoever keeps windows mapped on demand drops them before this returns.
  virtual void pages_removed() noexcept {}

  /// x86 with IrqchipKind::split: the guest ended level-triggered interrupt `vector`; the VMM's IOAPIC looks at its
  /// pins again.
  virtual void end_of_interrupt(std::uint8_t vector) noexcept { (void)vector; }

  /// x86 with IrqchipKind::split: a vCPU whose interrupt pin is asserted takes the interrupt now (the processor's
  /// acknowledge cycle); the controller gives its vector, and lowers the pin when it has no other. Nothing: it no
  /// longer wants one.
  virtual std::optional<std::uint8_t> acknowledge_interrupt() noexcept { return std::nullopt; }

 protected:
  ~IoHandler() = default;
};

}  // namespace trivet
