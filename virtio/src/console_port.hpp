// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/bytes.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/virtio/console.hpp>
#include <trivet/virtio/queue.hpp>
#include <trivet/virtio/reader.hpp>

namespace trivet::virtio {

/// What the driver is still to be told of a port, in this order.
enum ConsoleNews : unsigned {
  news_add = 1,
  news_console = 2,
  news_name = 4,
  news_size = 8,
  news_closed = 16,
  news_open = 32,
  news_remove = 64,
};

/// One port of a console: its two queues, and the host's side. On the device's executor only, but for what says
/// otherwise.
class ConsolePort {
 public:
  ConsolePort(unsigned id, ConsolePortOptions options) noexcept;
  ConsolePort(const ConsolePort&) = delete;
  ConsolePort& operator=(const ConsolePort&) = delete;
  ~ConsolePort();

  /// Makes descriptors non-blocking, and the socket. Before all else.
  Result<void> prepare();

  /// \name The device's calls; `side` is 0 for the receive queue, 1 for the transmit queue
  /// @{
  Result<void> activate(const boost::asio::any_io_executor& executor, Notifier& notifier, bool multiport);
  void start_queue(Queue queue, unsigned side);
  std::optional<Queue> stop_queue(unsigned side) noexcept;
  Result<More> process(unsigned side);
  void reset() noexcept;
  /// Now or never; any thread.
  void put_now(ConstBytes bytes) const noexcept;
  /// @}

  /// \name What control messages are about
  /// @{
  [[nodiscard]] unsigned id() const noexcept { return id_; }
  [[nodiscard]] const ConsolePortOptions& options() const noexcept { return options_; }
  /// There is something behind it, and it was not taken out.
  [[nodiscard]] bool exists() const noexcept;
  /// The driver was told of it, and has not yet said that it is ready, or has.
  [[nodiscard]] bool added() const noexcept { return added_; }
  void driver_starts() noexcept;
  void told_added() noexcept { added_ = true; }
  void driver_ready(bool ready) noexcept;
  void driver_opened(bool open) noexcept;
  /// Of `ConsoleNews`.
  [[nodiscard]] unsigned news() const noexcept { return news_; }
  void told(unsigned which) noexcept { news_ &= ~which; }
  /// Looks at what other threads have asked for.
  void catch_up() noexcept;
  /// @}

  /// rows << 16 | columns; 0: not known. Any thread.
  std::atomic<std::uint32_t> size{0};
  std::atomic<bool> resized{false};
  std::atomic<bool> taken_out{false};

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

  Result<void> listen();
  Result<void> watch();
  Result<More> receive();
  Result<More> transmit();
  /// Takes from the queue what the buffer holds, at most so many chains, fewer of which are left then. False when the
  /// queue has nothing more.
  Result<bool> fill_output(unsigned& chains);
  /// Writes out what the buffer has; false when the descriptor takes no more now.
  bool drain_output() noexcept;
  void wait_to_write();
  std::ptrdiff_t put(ConstBytes bytes) const noexcept;
  [[nodiscard]] bool takes_input() const noexcept { return !multiport_ || options_.is_console || guest_open_; }
  void wait_for_input();
  void input_ready(std::size_t bytes) noexcept;
  void input_ended() noexcept;
  /// \name A program at the socket
  /// @{
  void wait_for_client();
  void client_came(UniqueFd client);
  void client_left() noexcept;
  void wait_for_hangup();
  [[nodiscard]] bool hung_up() const noexcept;
  /// Nothing but a hangup can come from it.
  [[nodiscard]] bool only_hangs_up() const noexcept;
  /// @}
  void host_changed(bool open) noexcept;
  void report(const Result<More>& result, unsigned side) noexcept;
  void publish(Queue& queue) noexcept;

  unsigned id_;
  ConsolePortOptions options_;
  int input_fd_;
  int output_fd_;
  bool output_is_socket_ = false;
  UniqueFd listener_, client_;
  std::array<std::optional<Queue>, 2> queues_;
  std::optional<Transmission> transmission_;
  Buffer input_;
  Buffer output_;
  bool output_gone_ = false;
  bool closed_ = false;  // was taken out, and its host's side let go
  bool multiport_ = false;
  bool host_open_ = false;
  bool added_ = false;
  bool ready_ = false;
  bool guest_open_ = false;
  unsigned news_ = 0;
  Notifier* notifier_ = nullptr;
  std::shared_ptr<Watches> watches_;
};

}  // namespace trivet::virtio
