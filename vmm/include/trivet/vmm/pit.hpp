// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

#include <trivet/vmm/bus.hpp>

namespace trivet::vmm {

/// What a counter of the 8254 holds.
struct PitCounterState {
  std::uint16_t reload = 0;  ///< as the guest wrote it; 0 is the most
  std::uint8_t mode = 3;     ///< 0 to 5
  std::uint8_t access = 3;   ///< 1 low byte, 2 high byte, 3 low then high
  bool bcd = false;
  bool gate = true;
  bool loaded = false;  ///< a count was written since the control word
  bool counting = false;
  std::uint64_t elapsed_ns = 0;  ///< of counting since the last load or trigger
  bool write_high = false;       ///< the next write is the high byte
  bool read_high = false;        ///< the next read is the high byte
  std::uint8_t written_low = 0;  ///< the low byte, until the high one comes
  std::optional<std::uint16_t> latched_count{};
  std::optional<std::uint8_t> latched_status{};

  friend bool operator==(const PitCounterState&, const PitCounterState&) = default;
};

/// What a Pit holds.
struct PitState {
  std::array<PitCounterState, 3> counters{};
  bool speaker = false;  ///< port 0x61: whether the speaker follows counter 2

  friend bool operator==(const PitState&, const PitState&) = default;
};

/// The PC's 8254 interval timer, and port 0x61 with counter 2's gate and output.
///
/// Counter 0 ticks through `Wiring::tick`, at most every 200 us: a guest that asks for more gets less, and a tick that
/// it has not taken when the next comes is one. Counts follow the clock whatever the ticks do. All six modes, BCD,
/// latches and read-back; a count written to a running counter takes effect at once. Attached at port 0x40, 4 bytes;
/// `port_b` at 0x61. Thread rule: any thread; a short lock of its own, under which the wiring is called.
/// Source: Intel 8254 data sheet; Intel 82371AB (PIIX4) data sheet, NMI status and control (port 0x61).
class Pit final : public BusDevice {
 public:
  static constexpr std::uint16_t base = 0x40;
  static constexpr std::uint64_t size = 4;
  static constexpr std::uint16_t port_b_base = 0x61;
  static constexpr std::uint64_t frequency_hz = 1'193'182;
  static constexpr std::uint64_t shortest_tick_ns = 200'000;

  /// What it is connected to. None calls back.
  struct Wiring {
    std::function<std::uint64_t()> now_ns;                         ///< a monotonic clock
    std::function<void()> tick;                                    ///< a rising edge of counter 0's output
    std::function<void(std::optional<std::uint64_t>)> wake_at_ns;  ///< call `wake` then; nothing: not at all
  };
  explicit Pit(Wiring wiring);

  void read(std::uint64_t offset, Bytes data) noexcept override;
  void write(std::uint64_t offset, ConstBytes data) noexcept override;
  [[nodiscard]] BusDevice& port_b() noexcept { return port_b_; }

  /// The time that was asked for has come, or may have.
  void wake() noexcept;

  [[nodiscard]] PitState save() const noexcept;
  /// `malformed` when a mode or access does not exist; nothing was restored then.
  Result<void> restore(const PitState& state) noexcept;

 private:
  /// One counter. `since_ns` is when it began to count, where it does.
  struct Counter : PitCounterState {
    std::uint64_t since_ns = 0;

    [[nodiscard]] std::uint64_t elapsed(std::uint64_t now_ns) const noexcept;
    [[nodiscard]] std::uint64_t clocks(std::uint64_t now_ns) const noexcept;
    /// How many clocks the reload register stands for.
    [[nodiscard]] std::uint64_t span() const noexcept;
    [[nodiscard]] bool periodic() const noexcept { return mode == 2 || mode == 3; }
    [[nodiscard]] std::uint16_t count(std::uint64_t now_ns) const noexcept;
    [[nodiscard]] bool output(std::uint64_t now_ns) const noexcept;
    /// After how many clocks since the load its output rises for the first time after `clocks`; nothing: never.
    [[nodiscard]] std::optional<std::uint64_t> rise_after(std::uint64_t clocks) const noexcept;
    void control(std::uint8_t word) noexcept;
    void load(std::uint16_t value, std::uint64_t now_ns) noexcept;
    void set_gate(bool open, std::uint64_t now_ns) noexcept;
    void start(std::uint64_t now_ns) noexcept;
    void stop(std::uint64_t now_ns) noexcept;
    void latch(bool count_too, bool status_too, std::uint64_t now_ns) noexcept;
    [[nodiscard]] std::uint8_t read(std::uint64_t now_ns) noexcept;
    /// True when a whole count was written.
    bool write(std::uint8_t value, std::uint64_t now_ns) noexcept;
  };

  struct PortB final : BusDevice {
    explicit PortB(Pit& to) noexcept : pit(to) {}
    void read(std::uint64_t offset, Bytes data) noexcept override;
    void write(std::uint64_t offset, ConstBytes data) noexcept override;
    Pit& pit;
  };

  void write_control(std::uint8_t word, std::uint64_t now_ns) noexcept;
  /// Asks to be woken for counter 0's next rise after `clocks`, and not before `earliest_ns`.
  void plan(std::uint64_t clocks, std::uint64_t earliest_ns) noexcept;
  void cancel() noexcept;

  const Wiring wiring_;
  PortB port_b_{*this};
  mutable std::mutex mutex_;
  std::array<Counter, 3> counters_;
  bool speaker_ = false;
  std::optional<std::uint64_t> rise_at_ns_;  // when counter 0's next tick is due
};

}  // namespace trivet::vmm
