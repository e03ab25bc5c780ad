// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "serial_console.hpp"

#include <algorithm>
#include <array>

namespace trivet::vmm {
namespace {

constexpr std::size_t transmit_fifo = 16;

}  // namespace

Result<std::unique_ptr<SerialConsole>> SerialConsole::create(EventLoop& loop, UniqueFd input, UniqueFd output,
                                                             std::function<void()> stop) {
  std::unique_ptr<SerialConsole> console(new SerialConsole(std::move(stop)));
  auto* raw = console.get();
  if (output.valid()) {
    TRIVET_ASSIGN(console->output_,
                  OutputStream::create(loop, std::move(output), [raw] { raw->port_.transmitter_ready(); }));
  }
  if (input.valid()) {
    TRIVET_ASSIGN(console->input_,
                  InputStream::create(loop, std::move(input), [raw](ConstBytes bytes) { return raw->take(bytes); }));
  }
  return console;
}

void SerialConsole::connect(std::unique_ptr<InterruptLine> line) {
  line_ = std::move(line);
  port_.connect(line_.get());
}

void SerialConsole::flush(std::chrono::milliseconds limit) noexcept {
  if (output_) output_->flush(limit);
}

bool SerialConsole::transmit(std::byte byte) noexcept {
  return !output_ || output_->write({&byte, 1}) == 1;
}
bool SerialConsole::ready() const noexcept {
  return !output_ || output_->room_for(transmit_fifo);
}

void SerialConsole::receive_room() noexcept {
  if (input_) input_->resume();
}

std::size_t SerialConsole::take(ConstBytes bytes) {
  if (!stop_) return port_.receive(bytes);
  // Only as much as surely fits, so that an escape is seen once.
  const auto room = port_.free_space();
  if (room < 2) return 0;
  std::array<std::byte, Serial::fifo_size + 1> typed;
  const auto size = std::min(bytes.size(), room - 1);
  const auto filtered = filter_.filter(bytes.first(size), typed);
  (void)port_.receive({typed.data(), filtered.size});
  if (filtered.stop) stop_();
  return size;
}

}  // namespace trivet::vmm
