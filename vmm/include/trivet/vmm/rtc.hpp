// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>

#include <boost/describe/class.hpp>

#include <trivet/vmm/bus.hpp>

namespace trivet::vmm {

/// What of the clock the guest can have changed, for saving and restoring it.
struct RtcState {
  std::uint8_t index = 0;
  std::array<std::uint8_t, 128> registers{};
  std::int64_t offset_seconds = 0;  ///< the guest's clock minus the host's

  friend bool operator==(const RtcState&, const RtcState&) = default;
};
BOOST_DESCRIBE_STRUCT(RtcState, (), (index, registers, offset_seconds))

/// The PC's clock: MC146818 time of day in UTC and 128 bytes of CMOS memory, with the century in byte 0x32.
///
/// It never interrupts: alarm, periodic and update interrupts can be set and do nothing, and register C reads 0.
/// Attached at port 0x70, 2 bytes. Thread rule: any thread; a short lock of its own.
/// Source: Motorola MC146818A data sheet; ACPI 6.5, 5.2.9 (CENTURY).
class Rtc final : public BusDevice {
 public:
  static constexpr std::uint16_t base = 0x70;
  static constexpr std::uint64_t size = 2;
  using Now = std::chrono::system_clock::time_point (*)();

  /// `now` is the host's clock; tests give their own.
  explicit Rtc(Now now = [] { return std::chrono::system_clock::now(); }) noexcept;

  void read(std::uint64_t offset, Bytes data) noexcept override;
  void write(std::uint64_t offset, ConstBytes data) noexcept override;

  /// Before the guest runs: what a board's maker left in one byte of the memory. Ignored for the clock's own registers
  /// (below 0x0e, and the century) and beyond the last.
  void set_memory(std::uint8_t index, std::uint8_t value);

  [[nodiscard]] RtcState save() const;
  void restore(const RtcState& state);

 private:
  [[nodiscard]] bool setting() const noexcept;
  [[nodiscard]] std::uint8_t encode(unsigned value) const noexcept;
  [[nodiscard]] unsigned decode(std::uint8_t value) const noexcept;
  [[nodiscard]] std::uint8_t encode_hour(unsigned hour) const noexcept;
  [[nodiscard]] unsigned decode_hour(std::uint8_t value) const noexcept;
  [[nodiscard]] std::uint8_t read_register(std::uint8_t index) noexcept;
  void write_register(std::uint8_t index, std::uint8_t value) noexcept;
  /// The registers from the clock, and the clock from the registers.
  void refresh() noexcept;
  void adopt() noexcept;

  Now now_;
  mutable std::mutex mutex_;
  std::uint8_t index_ = 0;
  std::array<std::uint8_t, 128> registers_{};
  std::int64_t offset_seconds_ = 0;
};

}  // namespace trivet::vmm
