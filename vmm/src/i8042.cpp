// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>

#include <trivet/vmm/i8042.hpp>

namespace trivet::vmm {
namespace {

constexpr std::uint64_t data_port = 0, port_b = 1, command_port = 4;
constexpr std::uint8_t status_output_full = 0x01, status_system = 0x04,
                       status_time_out = 0x40;  // bit 5, the AT's other one, is a mouse's answer since the PS/2
constexpr std::uint8_t command_read_control = 0x20, command_write_control = 0x60, command_self_test = 0xaa,
                       command_test_keyboard_line = 0xab, command_read_output_port = 0xd0,
                       command_write_output_port = 0xd1, command_pulse = 0xf0;
constexpr std::uint8_t self_test_passed = 0x55, line_test_passed = 0x00;
constexpr std::uint8_t no_keyboard = 0xfe;
constexpr std::uint8_t reset_line = 0x01;  // active low
constexpr std::uint16_t answer_present = 0x100, answer_timed_out = 0x200;

}  // namespace

void I8042::read(std::uint64_t offset, Bytes data) noexcept {
  if (offset == port_b && port_b_ != nullptr) return port_b_->read(0, data);
  std::fill(data.begin(), data.end(), std::byte{0xff});  // ports 0x62 and 0x63 are nobody's
  if (offset == data_port) {
    data[0] = static_cast<std::byte>(answer_.exchange(0) & 0xff);
  } else if (offset == command_port) {
    const auto answer = answer_.load();
    unsigned status = status_system;
    if ((answer & answer_present) != 0) status |= status_output_full;
    if ((answer & answer_timed_out) != 0) status |= status_time_out;
    data[0] = static_cast<std::byte>(status);
  }
}

void I8042::write(std::uint64_t offset, ConstBytes data) noexcept {
  if (offset == port_b && port_b_ != nullptr) return port_b_->write(0, data);
  const auto value = std::to_integer<std::uint8_t>(data[0]);
  if (offset == command_port) return command(value);
  if (offset != data_port) return;
  switch (expect_.exchange(Expect::nothing)) {
    case Expect::control:
      control_ = value;
      break;
    case Expect::output_port:
      output_port_ = value;
      if ((value & reset_line) == 0) power_.reset();
      break;
    case Expect::nothing:
      answer_ = answer_present | answer_timed_out | no_keyboard;
      break;
  }
}

void I8042::command(std::uint8_t value) noexcept {
  expect_ = Expect::nothing;
  switch (value) {
    case command_read_control:
      return answer(control_);
    case command_write_control:
      expect_ = Expect::control;
      return;
    case command_self_test:
      return answer(self_test_passed);
    case command_test_keyboard_line:
      return answer(line_test_passed);
    case command_read_output_port:
      return answer(output_port_);
    case command_write_output_port:
      expect_ = Expect::output_port;
      return;
    default:
      // 0xf0-0xff pulse the lines whose bit is clear.
      if ((value & command_pulse) == command_pulse && (value & reset_line) == 0) power_.reset();
  }
}

void I8042::answer(std::uint8_t value) noexcept {
  answer_ = static_cast<std::uint16_t>(answer_present | value);
}

}  // namespace trivet::vmm
