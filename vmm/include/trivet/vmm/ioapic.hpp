// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <trivet/core/irq_router.hpp>
#include <trivet/vmm/bus.hpp>
#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/pic.hpp>

namespace trivet::vmm {

/// What an IoApic holds; asserted lines are their devices' to restore.
struct IoApicState {
  std::uint8_t id = 0;                                           ///< 0 to 15
  std::uint8_t select = 0;                                       ///< IOREGSEL
  std::array<std::uint64_t, layout::ioapic_pins> redirection{};  ///< as the guest reads them, with Remote IRR

  friend bool operator==(const IoApicState&, const IoApicState&) = default;
};

/// An I/O APIC for hypervisors that have only the local APICs: interrupt lines in, messages out.
///
/// It is an IrqRouter: its lines are its own pins, messages go to the hypervisor's router. Attached at
/// `layout::ioapic`. An edge on a masked pin is lost; a level is delivered until its vector's end-of-interrupt, which
/// `end_of_interrupt` brings, and then again while a line holds it. Lines are shared: their levels are OR-ed.
///
/// Where there are PICs, lines 1 and 3-15 lead to both, as on a PC; but for resample lines, which a PIC has no end of.
///
/// Thread rule: any thread; a line's `signal` and `set_level` take no lock and allocate nothing, except that an
/// end-of-interrupt with resample lines takes one, and a line that a PIC sees does.
/// Source: Intel 82093AA data sheet, 3; Intel SDM volume 3, 11.11 (messages).
class IoApic final : public BusDevice, public IrqRouter {
 public:
  static constexpr unsigned pins = layout::ioapic_pins;

  /// `messages` outlives it, and `pic`, where there is one.
  explicit IoApic(IrqRouter& messages, Pic* pic = nullptr) noexcept;
  ~IoApic();
  IoApic(const IoApic&) = delete;
  IoApic& operator=(const IoApic&) = delete;

  /// `out_of_range` a GSI beyond the pins; `already_exists` when the pin has lines of another trigger (caller).
  /// `trigger_fd` is -1: a pin's mask is known here only.
  Result<std::unique_ptr<InterruptLine>> line(std::uint32_t gsi, Trigger trigger) override;
  Result<std::unique_ptr<MsiRoute>> msi_route(const MsiMessage& message) override {
    return messages_.msi_route(message);
  }
  Result<void> signal_msi(const MsiMessage& message) noexcept override { return messages_.signal_msi(message); }

  /// A guest ended a level interrupt of this vector (IoHandler::end_of_interrupt).
  void end_of_interrupt(std::uint8_t vector) noexcept;

  void read(std::uint64_t offset, Bytes data) noexcept override;
  void write(std::uint64_t offset, ConstBytes data) noexcept override;

  [[nodiscard]] IoApicState save() const noexcept;
  /// While no vCPU runs. `malformed` when an id or entry has bits that do not exist; nothing was restored then.
  Result<void> restore(const IoApicState& state) noexcept;

 private:
  class Line;
  struct Pin;

  [[nodiscard]] std::uint32_t read_register() const noexcept;
  void write_register(std::uint32_t value) noexcept;

  IrqRouter& messages_;
  std::unique_ptr<Pin[]> pin_;
  std::atomic<std::uint8_t> select_{0};
  std::atomic<std::uint8_t> id_{0};
};

}  // namespace trivet::vmm
