// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <trivet/virtio/device.hpp>

namespace trivet::virtio {

class ConsoleControl;
class ConsolePort;

/// One port beside port 0. Its host's side is descriptors or a socket.
struct ConsolePortOptions {
  /// As the guest is told it (Linux: /sys/class/virtio-ports/*/name), say "org.example.agent.0": at most 128 bytes,
  /// none a control character; empty: none is told.
  std::string name{};
  int input_fd = -1;   ///< -1: nothing comes
  int output_fd = -1;  ///< -1: nobody reads, all is dropped
  /// A Unix stream socket is made here and removed again; one program at a time is let in, and is the host's side while
  /// it is connected. Not with descriptors. At most 107 bytes.
  std::string socket{};
  bool is_console = false;  ///< a terminal of the guest's (Linux: hvcN), else a plain port (/dev/vportNpM)
};

/// Where a console's bytes come from and go to. The descriptors stay the caller's, outlive the device, and are made
/// non-blocking.
struct ConsoleOptions {
  int input_fd = -1;   ///< of port 0, a console; -1: nobody types
  int output_fd = -1;  ///< -1: nobody reads, all is dropped
  std::uint16_t columns = 0;
  std::uint16_t rows = 0;  ///< 0 and 0: the size is not known, VIRTIO_CONSOLE_F_SIZE is not offered
  /// Offers it even so: a size may come later, of port 0 or of another. Linux follows no port's size without it.
  bool resizable = false;
  std::uint16_t queue_size = 64;  ///< a power of two, 2 to 1024; Linux puts a page in each place of the receive queue
  /// Ports 1, 2, ..., at most 30. With any, VIRTIO_CONSOLE_F_MULTIPORT is offered, and port 0 is added only if it has a
  /// descriptor.
  std::vector<ConsolePortOptions> ports{};
};

/// The console device (virtio 1.2, 5.3): one port or many, size, resizing, emergency write.
///
/// Holds 4096 bytes each way of a port and no more: a full input is left with its descriptor, a full output leaves the
/// guest's buffers in the queue. An input that ends or an output whose reader went away is no error; output is dropped
/// then. A program that gives it a pipe ignores SIGPIPE.
///
/// With several ports the driver is told (PORT_OPEN) when a port's host side comes and goes: a program at its socket,
/// or a single descriptor for both ways that ends. A plain port's input waits until the guest has opened the port.
class Console final : public Device {
 public:
  /// `invalid_argument` names the option out of bounds (caller); `io` when a descriptor cannot be made non-blocking,
  /// and what making the socket gives (host).
  static Result<std::unique_ptr<Console>> create(ConsoleOptions options);
  ~Console() override;

  /// Tells the driver the new size of port 0's terminal. No effect when it was created without one and
  /// is not `resizable`. Any thread.
  void resize(std::uint16_t columns, std::uint16_t rows) noexcept;
  /// The same of another console port. `not_found` (caller): there is no such port, or it is none. Any thread.
  Result<void> resize_port(unsigned port, std::uint16_t columns, std::uint16_t rows) noexcept;
  /// Takes a port of a device with several out for good; the driver is told if it is there. Its descriptors are in use
  /// until the device's executor has come to it. `not_found` (caller): there is no such port (any more). Any thread.
  Result<void> remove_port(unsigned port) noexcept;

  [[nodiscard]] std::uint32_t id() const noexcept override;
  [[nodiscard]] std::string_view name() const noexcept override { return "console"; }
  [[nodiscard]] std::uint64_t features() const noexcept override;
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const noexcept override { return queue_sizes_; }
  void read_config(std::uint32_t offset, Bytes out) const noexcept override;
  void write_config(std::uint32_t offset, ConstBytes in) noexcept override;
  [[nodiscard]] std::uint32_t config_generation() const noexcept override;

  Result<void> activate(Activation activation) override;
  Result<void> start_queue(Queue queue) override;
  std::optional<Queue> stop_queue(unsigned index) noexcept override;
  Result<More> process(unsigned index) override;
  void reset() noexcept override;

 private:
  explicit Console(const ConsoleOptions& options);
  [[nodiscard]] bool multiport() const noexcept { return ports_.size() > 1; }
  /// Of a queue that is a port's.
  [[nodiscard]] ConsolePort* port_of(unsigned queue) const noexcept;
  [[nodiscard]] ConsolePort* port_at(unsigned id) const noexcept;
  void wake_control() noexcept;

  bool has_size_;
  std::vector<std::uint16_t> queue_sizes_;
  std::atomic<std::uint64_t> size_;                  // generation << 32 | rows << 16 | columns: they change in one step
  std::vector<std::unique_ptr<ConsolePort>> ports_;  // by id
  std::unique_ptr<ConsoleControl> control_;          // while MULTIPORT is negotiated
  Activation activation_;
  std::mutex notifier_mutex_;  // resize against reset
  Notifier* notifier_ = nullptr;
};

}  // namespace trivet::virtio
