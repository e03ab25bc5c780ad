// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

#include <trivet/vmm/bus.hpp>

namespace trivet::vmm {

/// What one 8259A holds; asserted lines are their devices' to restore.
struct PicChipState {
  std::uint8_t irr = 0;           ///< interrupt request register; of level inputs only what was latched
  std::uint8_t isr = 0;           ///< in-service register
  std::uint8_t imr = 0;           ///< interrupt mask register
  std::uint8_t elcr = 0;          ///< edge/level control
  std::uint8_t vector_base = 0;   ///< ICW2
  std::uint8_t lowest = 7;        ///< the input of lowest priority
  std::uint8_t icw_expected = 0;  ///< 0: initialized; else the next of ICW2, 3, 4
  bool icw4_expected = false;
  bool single = false;                ///< ICW1: no cascade
  bool level_triggered = false;       ///< ICW1: LTIM
  bool auto_eoi = false;              ///< ICW4
  bool special_fully_nested = false;  ///< ICW4
  bool rotate_on_auto_eoi = false;    ///< OCW2
  bool special_mask = false;          ///< OCW3
  bool poll = false;                  ///< OCW3: the next read acknowledges
  bool read_isr = false;              ///< OCW3: which register the command port reads

  friend bool operator==(const PicChipState&, const PicChipState&) = default;
};

/// Both: the master, and the slave on its input 2.
struct PicState {
  PicChipState master;
  PicChipState slave;

  friend bool operator==(const PicState&, const PicState&) = default;
};

/// The PC's pair of 8259A interrupt controllers with edge/level control, for hypervisors that have only the local
/// APICs.
///
/// Lines 0-15 in, one INTR out; input 2 is the slave. `acknowledge` is the processor's acknowledge cycle. An input that
/// falls before it takes its request back, so that there are no spurious interrupts. All is masked at first, as
/// firmware leaves it. Attached at ports 0x20, 0xa0 and 0x4d0, two each. There is no 8080 mode: ICW4's bit 0 is taken
/// as set. Thread rule: any thread; a short lock of its own, under which `output` is called. Source: Intel 8259A data
/// sheet; Intel 82371AB (PIIX4) data sheet, 4.2.4 and ELCR.
class Pic final {
 public:
  static constexpr std::uint16_t master_base = 0x20, slave_base = 0xa0, elcr_base = 0x4d0;
  static constexpr std::uint64_t size = 2;
  static constexpr unsigned lines = 16;
  static constexpr unsigned cascade = 2;

  /// INTR's level, each time it changes; must not call back.
  using Output = std::function<void(bool asserted)>;
  explicit Pic(Output output);

  /// An input's level. Lines that do not exist, and the cascade, are ignored.
  void set_line(unsigned line, bool asserted) noexcept;

  /// The vector of the interrupt that the processor takes; nothing while INTR is low.
  std::optional<std::uint8_t> acknowledge() noexcept;

  [[nodiscard]] BusDevice& master() noexcept { return ports_[0]; }
  [[nodiscard]] BusDevice& slave() noexcept { return ports_[1]; }
  [[nodiscard]] BusDevice& edge_level_control() noexcept { return ports_[2]; }

  [[nodiscard]] PicState save() const noexcept;
  /// While no vCPU runs; INTR goes where the state says. `malformed` when a register has bits that do not exist;
  /// nothing was restored then.
  Result<void> restore(const PicState& state) noexcept;

 private:
  /// One 8259A. `levels` are its inputs as they stand.
  struct Chip : PicChipState {
    std::uint8_t levels = 0;

    void set_input(unsigned input, bool asserted) noexcept;
    [[nodiscard]] std::uint8_t requests() const noexcept;
    /// The input that may interrupt now; none is 8.
    [[nodiscard]] unsigned pending(bool is_master) const noexcept;
    void begin_service(unsigned input) noexcept;
    void write_command(std::uint8_t value) noexcept;
    void write_data(std::uint8_t value) noexcept;
    void begin_initialization(std::uint8_t icw1) noexcept;
    void write_ocw2(std::uint8_t value) noexcept;
    void write_ocw3(std::uint8_t value) noexcept;
    [[nodiscard]] bool is_level(unsigned input) const noexcept;
    /// Of the inputs in `set`, the one of highest priority; none is 8.
    [[nodiscard]] unsigned highest(std::uint8_t set) const noexcept;
  };

  struct Ports final : BusDevice {
    Ports(Pic& to, unsigned which_ports) noexcept : pic(to), which(which_ports) {}
    void read(std::uint64_t offset, Bytes data) noexcept override;
    void write(std::uint64_t offset, ConstBytes data) noexcept override;
    Pic& pic;
    const unsigned which;
  };

  [[nodiscard]] std::uint8_t read_port(unsigned which, unsigned offset) noexcept;
  void write_port(unsigned which, unsigned offset, std::uint8_t value) noexcept;
  std::uint8_t poll(Chip& chip) noexcept;
  /// The slave's INT to the master's input, and INTR out.
  void update() noexcept;

  const Output output_;
  std::array<Ports, 3> ports_;
  mutable std::mutex mutex_;
  std::array<Chip, 2> chips_;
  bool asserted_ = false;
};

}  // namespace trivet::vmm
