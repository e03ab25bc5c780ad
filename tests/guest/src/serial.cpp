// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "serial.hpp"

#include "cpu.hpp"
#include "trivet_guest/protocol.hpp"

namespace guest {
namespace {

constexpr std::uint16_t com1 = 0x3f8;
constexpr std::uint16_t fifo_control = com1 + 2;
constexpr std::uint16_t line_control = com1 + 3;
constexpr std::uint16_t line_status = com1 + 5;
constexpr std::uint16_t scratch_register = com1 + 7;
constexpr std::uint8_t data_ready = 0x01;
constexpr std::uint8_t transmitter_empty = 0x20;

enum class Sink { none, uart, test_port };

Sink sink = Sink::none;
std::size_t burst = 1;
char line[256];
std::size_t line_size = 0;
// What came before the FIFOs were switched on, which empties them.
char early[64];
std::size_t early_size = 0;
std::size_t early_read = 0;

void send_to_uart() {
  for (std::size_t at = 0; at < line_size;) {
    while ((in8(line_status) & transmitter_empty) == 0) pause();
    std::size_t count = line_size - at < burst ? line_size - at : burst;
    out8_string(com1, line + at, count);
    at += count;
  }
}

}  // namespace

void serial_start() {
  out8(scratch_register, 0xa5);
  if (in8(scratch_register) != 0xa5) return;
  out8(line_control, 0x03);  // 8n1, divisor latch off
  out8(com1 + 1, 0);         // no interrupts
  while (early_size < sizeof early && (in8(line_status) & data_ready) != 0) {
    early[early_size++] = static_cast<char>(in8(com1));
  }
  out8(fifo_control, 0x07);  // FIFOs on and empty
  burst = (in8(fifo_control) & 0xc0) == 0xc0 ? 16 : 1;
  sink = Sink::uart;
}

void serial_redirect_to_test_port() {
  sink = Sink::test_port;
}

void flush_console() {
  if (sink == Sink::uart) send_to_uart();
  if (sink == Sink::test_port) out8_string(trivet_guest::port_text, line, line_size);
  line_size = 0;
}

void serial_write(Text text) {
  for (std::size_t i = 0; i < text.size; ++i) {
    if (text.data[i] == '\n' && sink == Sink::uart) line[line_size++] = '\r';
    line[line_size++] = text.data[i];
    if (line_size + 2 > sizeof line) flush_console();
  }
}

int serial_read() {
  if (sink != Sink::uart) return -1;
  if (early_read < early_size) return static_cast<unsigned char>(early[early_read++]);
  while ((in8(line_status) & data_ready) == 0) pause();
  return in8(com1);
}

}  // namespace guest
