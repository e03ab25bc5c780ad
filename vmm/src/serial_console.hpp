// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <functional>
#include <memory>

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/vmm/event_loop.hpp>
#include <trivet/vmm/serial.hpp>

#include "escape_filter.hpp"
#include "input_stream.hpp"
#include "output_stream.hpp"

namespace trivet::vmm {

/// A serial port with its two streams. An invalid descriptor is a loose end: output is dropped, no input comes.
class SerialConsole final : private SerialPeer {
 public:
  /// `stop`, when set, is called on the loop for the escape Ctrl-A x; without it every byte goes to the guest.
  static Result<std::unique_ptr<SerialConsole>> create(EventLoop& loop, UniqueFd input, UniqueFd output,
                                                       std::function<void()> stop);

  /// Before the guest runs.
  void connect(std::unique_ptr<InterruptLine> line);
  [[nodiscard]] Serial& port() noexcept { return port_; }
  /// After the loop stopped: gives a slow reader this long for what is left.
  void flush(std::chrono::milliseconds limit) noexcept;

 private:
  explicit SerialConsole(std::function<void()> stop) noexcept : stop_(std::move(stop)) {}
  bool transmit(std::byte byte) noexcept override;
  [[nodiscard]] bool ready() const noexcept override;
  void receive_room() noexcept override;
  std::size_t take(ConstBytes bytes);

  std::function<void()> stop_;
  EscapeFilter filter_;
  std::unique_ptr<InterruptLine> line_;
  Serial port_{*this};
  std::unique_ptr<OutputStream> output_;
  std::unique_ptr<InputStream> input_;
};

}  // namespace trivet::vmm
