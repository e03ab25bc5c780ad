// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>

#include <trivet/vmm/serial.hpp>

namespace trivet::vmm {
namespace {

enum Register : std::uint64_t {
  data = 0,              // r: received, w: to send; divisor low with the latch open
  interrupt_enable = 1,  // rw; divisor high with the latch open
  interrupt_id = 2,      // r
  fifo_control = 2,      // w
  line_control = 3,      // rw
  modem_control = 4,     // rw
  line_status = 5,       // r
  modem_status = 6,      // r
  scratch = 7,           // rw
};

constexpr std::uint8_t enable_received = 0x01, enable_transmit = 0x02, enable_line_status = 0x04, enable_all = 0x0f;
constexpr std::uint8_t id_none = 0x01, id_transmit = 0x02, id_received = 0x04, id_line_status = 0x06,
                       id_fifos_enabled = 0xc0;
constexpr std::uint8_t fifo_enable = 0x01, fifo_clear_receive = 0x02, fifo_kept_bits = 0xc9;
constexpr std::uint8_t latch_open = 0x80;
constexpr std::uint8_t modem_dtr = 0x01, modem_rts = 0x02, modem_out1 = 0x04, modem_out2 = 0x08, modem_loop = 0x10,
                       modem_all = 0x1f;
constexpr std::uint8_t line_data_ready = 0x01, line_overrun = 0x02, line_holding_empty = 0x20, line_idle = 0x40;
constexpr std::uint8_t status_cts = 0x10, status_dsr = 0x20, status_ring = 0x40, status_dcd = 0x80;

}  // namespace

void Serial::connect(InterruptLine* line) noexcept {
  const std::scoped_lock lock(mutex_);
  line_ = line;
}

void Serial::read(std::uint64_t offset, Bytes out) noexcept {
  std::fill(out.begin(), out.end(), std::byte{0xff});  // registers are a byte wide; the rest of a wider access floats
  const std::scoped_lock lock(mutex_);
  const auto before = count_;
  out[0] = std::byte{read_register(offset)};
  update_line();
  if (count_ < before) peer_.receive_room();
}

void Serial::write(std::uint64_t offset, ConstBytes in) noexcept {
  const std::scoped_lock lock(mutex_);
  write_register(offset, std::to_integer<std::uint8_t>(in[0]));
  update_line();
}

std::uint8_t Serial::read_register(std::uint64_t offset) noexcept {
  switch (offset) {
    case Register::data:
      return divisor_latch() ? static_cast<std::uint8_t>(divisor_) : pop();
    case Register::interrupt_enable:
      return divisor_latch() ? static_cast<std::uint8_t>(divisor_ >> 8) : interrupt_enable_;
    case Register::interrupt_id: {
      const auto cause = interrupt_cause();
      if (cause == id_transmit) transmit_interrupt_ = false;  // told once
      return static_cast<std::uint8_t>(cause | ((fifo_control_ & fifo_enable) != 0 ? id_fifos_enabled : 0));
    }
    case Register::line_control:
      return line_control_;
    case Register::modem_control:
      return modem_control_;
    case Register::line_status: {
      const auto status = line_status();
      overrun_ = false;
      return status;
    }
    case Register::modem_status:
      return modem_status();
    default:
      return scratch_;
  }
}

void Serial::write_register(std::uint64_t offset, std::uint8_t value) noexcept {
  switch (offset) {
    case Register::data:
      if (divisor_latch()) {
        divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff00) | value);
      } else {
        send(value);
      }
      break;
    case Register::interrupt_enable:
      if (divisor_latch()) {
        divisor_ = static_cast<std::uint16_t>((divisor_ & 0x00ff) | (value << 8));
      } else {
        write_enable(value);
      }
      break;
    case Register::fifo_control:
      write_fifo_control(value);
      break;
    case Register::line_control:
      line_control_ = value;
      break;
    case Register::modem_control:
      modem_control_ = value & modem_all;
      break;
    case Register::scratch:
      scratch_ = value;
      break;
    default:
      break;  // the status registers are read-only
  }
}

void Serial::write_enable(std::uint8_t value) noexcept {
  const bool newly_enabled = (value & ~interrupt_enable_ & enable_transmit) != 0;
  interrupt_enable_ = value & enable_all;
  // Enabling it while the transmitter is empty interrupts at once; Linux counts on that to start sending.
  if (newly_enabled && transmitter_empty()) transmit_interrupt_ = true;
}

void Serial::write_fifo_control(std::uint8_t value) noexcept {
  const bool switched = ((value ^ fifo_control_) & fifo_enable) != 0;
  if (switched || (value & fifo_clear_receive) != 0) count_ = 0;
  fifo_control_ = (value & fifo_enable) != 0 ? value & fifo_kept_bits : std::uint8_t{0};
}

void Serial::send(std::uint8_t value) noexcept {
  if (loopback()) {
    if (!push(value)) overrun_ = true;
    transmit_interrupt_ = true;
    return;
  }
  if (!peer_.transmit(std::byte{value})) ++lost_;
  transmit_interrupt_ = transmitter_empty();
}

bool Serial::push(std::uint8_t value) noexcept {
  if (count_ == fifo_size) return false;
  fifo_[(head_ + count_) % fifo_size] = value;
  ++count_;
  return true;
}

std::uint8_t Serial::pop() noexcept {
  if (count_ == 0) return 0;
  const auto value = fifo_[head_];
  head_ = (head_ + 1) % fifo_size;
  --count_;
  return value;
}

bool Serial::divisor_latch() const noexcept {
  return (line_control_ & latch_open) != 0;
}
bool Serial::loopback() const noexcept {
  return (modem_control_ & modem_loop) != 0;
}
bool Serial::transmitter_empty() const noexcept {
  return loopback() || peer_.ready();
}

std::uint8_t Serial::interrupt_cause() const noexcept {
  if ((interrupt_enable_ & enable_line_status) != 0 && overrun_) return id_line_status;
  if ((interrupt_enable_ & enable_received) != 0 && count_ != 0) return id_received;
  if ((interrupt_enable_ & enable_transmit) != 0 && transmit_interrupt_) return id_transmit;
  return id_none;
}

std::uint8_t Serial::line_status() const noexcept {
  std::uint8_t status = 0;
  if (count_ != 0) status |= line_data_ready;
  if (overrun_) status |= line_overrun;
  if (transmitter_empty()) status |= line_holding_empty | line_idle;
  return status;
}

std::uint8_t Serial::modem_status() const noexcept {
  if (!loopback()) return status_dcd | status_dsr | status_cts;  // somebody is always at the other end
  std::uint8_t status = 0;
  if ((modem_control_ & modem_dtr) != 0) status |= status_dsr;
  if ((modem_control_ & modem_rts) != 0) status |= status_cts;
  if ((modem_control_ & modem_out1) != 0) status |= status_ring;
  if ((modem_control_ & modem_out2) != 0) status |= status_dcd;
  return status;
}

void Serial::update_line() noexcept {
  const bool asserted = interrupt_cause() != id_none;
  // A host that cannot signal leaves the guest polling; there is nobody here to tell.
  if (asserted && !asserted_ && line_ != nullptr) (void)line_->signal();
  asserted_ = asserted;
}

std::size_t Serial::receive(ConstBytes bytes) noexcept {
  const std::scoped_lock lock(mutex_);
  if (loopback()) return bytes.size();  // the line is cut: the byte goes nowhere
  std::size_t taken = 0;
  while (taken < bytes.size() && push(std::to_integer<std::uint8_t>(bytes[taken]))) ++taken;
  update_line();
  return taken;
}

std::size_t Serial::free_space() const noexcept {
  const std::scoped_lock lock(mutex_);
  return fifo_size - count_;
}

void Serial::transmitter_ready() noexcept {
  const std::scoped_lock lock(mutex_);
  transmit_interrupt_ = true;
  update_line();
}

std::uint64_t Serial::lost() const noexcept {
  const std::scoped_lock lock(mutex_);
  return lost_;
}

SerialState Serial::save() const {
  const std::scoped_lock lock(mutex_);
  SerialState state{interrupt_enable_,
                    fifo_control_,
                    line_control_,
                    modem_control_,
                    scratch_,
                    divisor_,
                    overrun_,
                    transmit_interrupt_,
                    {}};
  for (std::size_t i = 0; i < count_; ++i) state.received.push_back(fifo_[(head_ + i) % fifo_size]);
  return state;
}

Result<void> Serial::restore(const SerialState& state) {
  if (state.received.size() > fifo_size) {
    return Error(Errc::malformed, "restore a serial port",
                 fmt::format("{} received bytes, the FIFO holds {}", state.received.size(), fifo_size));
  }
  const std::scoped_lock lock(mutex_);
  interrupt_enable_ = state.interrupt_enable & enable_all;
  fifo_control_ = state.fifo_control & fifo_kept_bits;
  line_control_ = state.line_control;
  modem_control_ = state.modem_control & modem_all;
  scratch_ = state.scratch;
  divisor_ = state.divisor;
  overrun_ = state.overrun;
  transmit_interrupt_ = state.transmit_interrupt;
  head_ = 0;
  count_ = state.received.size();
  std::copy(state.received.begin(), state.received.end(), fifo_.begin());
  asserted_ = false;  // a cause that is pending interrupts again; the guest's handler copes with one too many
  update_line();
  return {};
}

}  // namespace trivet::vmm
