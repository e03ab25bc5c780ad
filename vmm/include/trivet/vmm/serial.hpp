// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <vector>

#include <boost/describe/class.hpp>

#include <trivet/core/interrupt_line.hpp>
#include <trivet/vmm/bus.hpp>

namespace trivet::vmm {

/// The other end of a serial port. Called with the port's lock held: must not call the port back.
class SerialPeer {
 public:
  /// One byte from the guest; false when there was no room and it is lost.
  virtual bool transmit(std::byte byte) noexcept = 0;
  /// Whether a whole transmit FIFO (16 bytes) has room. The guest sees it as "transmitter empty".
  [[nodiscard]] virtual bool ready() const noexcept = 0;
  /// The guest made room in the receive FIFO.
  virtual void receive_room() noexcept = 0;

 protected:
  ~SerialPeer() = default;
};

/// Everything of a serial port that the guest can see, for saving and restoring it.
struct SerialState {
  std::uint8_t interrupt_enable = 0;
  std::uint8_t fifo_control = 0;
  std::uint8_t line_control = 0;
  std::uint8_t modem_control = 0;
  std::uint8_t scratch = 0;
  std::uint16_t divisor = 12;  ///< 9600 baud
  bool overrun = false;
  bool transmit_interrupt = false;
  std::vector<std::uint8_t> received;  ///< at most Serial::fifo_size

  friend bool operator==(const SerialState&, const SerialState&) = default;
};
BOOST_DESCRIBE_STRUCT(SerialState, (),
                      (interrupt_enable, fifo_control, line_control, modem_control, scratch, divisor, overrun,
                       transmit_interrupt, received))

/// A 16550A serial port with a receive FIFO of 64 bytes.
///
/// Sending is instant while the peer has room; when it has none the port shows a transmitter that is not empty, as a
/// slow line would, and a guest that writes all the same loses bytes (counted). Baud rate and parity are remembered
/// and change nothing. Thread rule: any thread; a short lock of its own.
/// Source: PC16550D data sheet (National Semiconductor, 1995), section 8.
class Serial final : public BusDevice {
 public:
  static constexpr std::uint64_t size = 8;  ///< ports
  static constexpr std::size_t fifo_size = 64;

  /// The guest must poll until `connect`. `peer` outlives the port.
  explicit Serial(SerialPeer& peer) noexcept : peer_(peer) {}

  /// `line` outlives the port, or is taken away with null. Before the guest runs.
  void connect(InterruptLine* line) noexcept;

  void read(std::uint64_t offset, Bytes data) noexcept override;
  void write(std::uint64_t offset, ConstBytes data) noexcept override;

  /// Bytes for the guest; how many found room.
  std::size_t receive(ConstBytes bytes) noexcept;
  [[nodiscard]] std::size_t free_space() const noexcept;

  /// The peer is `ready` again.
  void transmitter_ready() noexcept;

  /// Bytes that the guest sent into a full transmitter.
  [[nodiscard]] std::uint64_t lost() const noexcept;

  [[nodiscard]] SerialState save() const;
  /// `malformed`: more received bytes than the FIFO holds; nothing was restored then.
  Result<void> restore(const SerialState& state);

 private:
  [[nodiscard]] std::uint8_t read_register(std::uint64_t offset) noexcept;
  void write_register(std::uint64_t offset, std::uint8_t value) noexcept;
  void write_enable(std::uint8_t value) noexcept;
  void write_fifo_control(std::uint8_t value) noexcept;
  void send(std::uint8_t value) noexcept;
  bool push(std::uint8_t value) noexcept;
  std::uint8_t pop() noexcept;
  [[nodiscard]] bool divisor_latch() const noexcept;
  [[nodiscard]] bool loopback() const noexcept;
  [[nodiscard]] bool transmitter_empty() const noexcept;
  [[nodiscard]] std::uint8_t interrupt_cause() const noexcept;
  [[nodiscard]] std::uint8_t line_status() const noexcept;
  [[nodiscard]] std::uint8_t modem_status() const noexcept;
  /// Raises the line when a cause appears where there was none.
  void update_line() noexcept;

  InterruptLine* line_ = nullptr;
  SerialPeer& peer_;
  mutable std::mutex mutex_;
  std::uint8_t interrupt_enable_ = 0;
  std::uint8_t fifo_control_ = 0;
  std::uint8_t line_control_ = 0;
  std::uint8_t modem_control_ = 0;
  std::uint8_t scratch_ = 0;
  std::uint16_t divisor_ = 12;
  bool overrun_ = false;
  bool transmit_interrupt_ = false;
  bool asserted_ = false;
  std::uint64_t lost_ = 0;
  std::array<std::uint8_t, fifo_size> fifo_{};
  std::size_t head_ = 0;
  std::size_t count_ = 0;
};

}  // namespace trivet::vmm
