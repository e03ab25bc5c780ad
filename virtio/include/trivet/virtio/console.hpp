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

#include <boost/asio/posix/stream_descriptor.hpp>

#include <trivet/virtio/device.hpp>
#include <trivet/virtio/reader.hpp>

namespace trivet::virtio {

/// Where a console's bytes come from and go to. The descriptors stay the caller's, outlive the device, and are made
/// non-blocking.
struct ConsoleOptions {
  int input_fd = -1;   ///< -1: nobody types
  int output_fd = -1;  ///< -1: nobody reads, all is dropped
  std::uint16_t columns = 0;
  std::uint16_t rows = 0;         ///< 0 and 0: the size is not known, VIRTIO_CONSOLE_F_SIZE is not offered
  std::uint16_t queue_size = 64;  ///< a power of two, 2 to 1024; Linux puts a page in each place of the receive queue
};

/// The console device with one port (virtio 1.2, 5.3): size, resizing, emergency write.
///
/// Holds 4096 bytes each way and no more: a full input is left with its descriptor, a full output leaves the guest's
/// buffers in the queue. An input that ends or an output whose reader went away is no error; output is dropped then. A
/// program that gives it a pipe ignores SIGPIPE.
class Console final : public Device {
 public:
  /// `invalid_argument` names the option out of bounds (caller); `io` when a descriptor cannot be made non-blocking
  /// (host).
  static Result<std::unique_ptr<Console>> create(ConsoleOptions options);
  ~Console() override;

  /// Tells the driver the terminal's new size. No effect when it was created without one. Any thread.
  void resize(std::uint16_t columns, std::uint16_t rows) noexcept;

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
  static constexpr std::size_t buffer_size = 4096;
  struct Watches;

  /// Bytes on their way: filled at the end, emptied from the front.
  struct Buffer {
    std::array<std::byte, buffer_size> bytes;
    std::size_t begin = 0;
    std::size_t end = 0;

    [[nodiscard]] std::size_t size() const noexcept { return end - begin; }
    void drop(std::size_t count) noexcept;
  };
  /// A transmitted chain, as far as it was read.
  struct Transmission {
    std::uint16_t chain;
    Reader rest;
  };

  explicit Console(ConsoleOptions options) noexcept;

  Result<More> receive();
  Result<More> transmit();
  /// Takes from the queue what the buffer holds. False when the queue has nothing more.
  Result<bool> fill_output();
  /// Writes out what the buffer has; false when the descriptor takes no more now.
  bool drain_output() noexcept;
  std::ptrdiff_t put(ConstBytes bytes) const noexcept;
  void input_ready(std::size_t bytes) noexcept;
  void wait_for_input();
  void report(const Result<More>& result, unsigned queue) noexcept;
  void publish(Queue& queue) noexcept;

  ConsoleOptions options_;
  std::array<std::uint16_t, 2> queue_sizes_;
  bool output_is_socket_;
  std::atomic<std::uint64_t> size_;  // generation << 32 | rows << 16 | columns: they change in one step
  std::array<std::optional<Queue>, 2> queues_;
  std::optional<Transmission> transmission_;
  Buffer input_;
  Buffer output_;
  bool output_gone_ = false;
  Activation activation_;
  std::mutex notifier_mutex_;  // resize against reset
  Notifier* notifier_ = nullptr;
  std::shared_ptr<Watches> watches_;
};

}  // namespace trivet::virtio
