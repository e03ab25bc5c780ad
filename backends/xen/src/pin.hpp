// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include <trivet/core/irq_router.hpp>

#include "context.hpp"

namespace trivet::xen {

/// Where Xen's own IOAPIC takes an interrupt: below 16 the ISA wires, above them those of PCI devices. GSI 2 is ISA
/// interrupt 0; nothing leads to GSI 0. For the rest devices 24 to 31 of bus 0 lend their wires, which no device of
/// ours stands on. Source: Xen, hvm_isa_irq_to_gsi, hvm_pci_intx_gsi.
struct Wire {
  bool pci = false;
  std::uint8_t isa_irq = 0;
  std::uint8_t device = 0;
  std::uint8_t intx = 0;

  friend bool operator==(const Wire&, const Wire&) = default;
};

inline constexpr std::uint32_t first_pci_gsi = 16;
inline constexpr std::uint32_t end_of_gsis = 48;

/// Nothing where no wire leads. Pure.
[[nodiscard]] std::optional<Wire> wire_of(std::uint32_t gsi) noexcept;

/// One input pin of Xen's controllers, shared by the lines of its GSI: their levels are OR-ed, as wires are.
///
/// The call to Xen must follow the latest state though several threads change it, without a lock: the first that finds
/// nobody at it makes the calls, and again for whoever came meanwhile. Thread rule: any thread.
class Pin {
 public:
  Pin(const Context& context, const Wire& wire, Trigger trigger) noexcept
      : context_(context), wire_(wire), trigger_(trigger) {}

  [[nodiscard]] Trigger trigger() const noexcept { return trigger_; }

  /// One more or one fewer that holds the level up.
  Result<void> hold() noexcept;
  Result<void> release() noexcept;
  /// Up and down again, for an edge; stays up where someone holds it.
  Result<void> pulse() noexcept;

 private:
  Result<void> apply(bool edge) noexcept;
  Result<void> set(bool level) const noexcept;

  const Context& context_;
  const Wire wire_;
  const Trigger trigger_;
  std::atomic<std::uint32_t> holders_{0};
  std::atomic<bool> edge_{false};
  std::atomic<std::uint32_t> changes_{0};  // not yet told to Xen; above 0 while a thread is at it
};

}  // namespace trivet::xen
