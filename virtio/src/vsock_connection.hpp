// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/intrusive/list_hook.hpp>

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/virtio/abi/vsock.hpp>
#include <trivet/virtio/reader.hpp>
#include <trivet/virtio/vsock.hpp>
#include <trivet/virtio/writer.hpp>

#include "vsock_backlog.hpp"
#include "vsock_credit.hpp"

namespace trivet::virtio {

/// One connection: a Unix socket of the host's, what is on its way to it, and what the guest is owed. Linked while it
/// has something for the guest. Its waits keep it alive, and call the device until `close`.
class VsockConnection final
    : public std::enable_shared_from_this<VsockConnection>,
      public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  enum class State : std::uint8_t {
    greeting,    ///< the host has not said yet whom it wants
    requesting,  ///< the guest has not answered yet
    connected,
    ended,      ///< for the guest; it is owed the news
    lingering,  ///< the guest knows; the host still reads
  };
  /// Packets that the guest is owed, besides data.
  enum Owed : std::uint8_t {
    nothing = 0,
    request = 1,
    response = 2,
    reset = 4,
    shutdown = 8,
    credit_request = 16,
    credit_update = 32,
  };
  /// What came of a look at the host's bytes.
  struct Received {
    std::uint32_t bytes = 0;
    bool ends_message = false;
  };

  /// Throws what memory and Asio throw.
  VsockConnection(Vsock& device, const boost::asio::any_io_executor& executor, UniqueFd socket, bool messages,
                  std::uint32_t buffer);

  /// Lets go of the socket and of the device.
  void close() noexcept;

  // Guest to host. Errors are the guest's.

  /// Passes on `bytes` of `data`, at once as far as the host takes them. There must be credit for them.
  Result<void> send(Reader& data, std::uint32_t bytes, bool ends_message);
  /// Writes out what the host takes now.
  void flush();
  /// A line of ours, before all data. False when the host is gone.
  bool say(std::string_view line) noexcept;
  /// The guest sends nothing after what is held.
  void end_sending();
  /// The host's program went away: what is held goes nowhere.
  void host_gone() noexcept;
  [[nodiscard]] bool drained() const noexcept { return deaf || backlog_.size() == 0; }

  // Host to guest. Errors are the guest's.

  /// Up to `most` (not 0) bytes of the host's into `room`. None: there are none now, or `host_ended` or `too_long` says
  /// why not.
  Result<Received> receive(Writer& room, std::uint32_t most);
  /// There may be bytes to receive.
  [[nodiscard]] bool has_input() const noexcept {
    return !guest_deaf && ((readable && !host_ended) || staged_begin_ < staged_end_);
  }
  /// The guest receives no more.
  void end_receiving() noexcept;

  /// Whether the guest is to be sent something.
  [[nodiscard]] bool wants() const noexcept {
    return owed != nothing || (state == State::connected && has_input() && (credit.room() != 0 || !asked));
  }
  void owe(Owed what) noexcept { owed = static_cast<std::uint8_t>(owed | what); }
  /// It is over for the guest, who is to be told.
  void break_off() noexcept {
    state = State::ended;
    owed = reset;
  }
  /// Owes what the guest does not know yet of the host's end.
  void owe_shutdown() noexcept {
    if (state == State::connected && host_shutdown() != said_shutdown) owe(shutdown);
  }
  [[nodiscard]] std::uint32_t host_shutdown() const noexcept {
    return (host_ended ? abi::vsock_shutdown_send : 0) | (deaf ? abi::vsock_shutdown_receive : 0);
  }
  void paid(Owed what) noexcept { owed = static_cast<std::uint8_t>(owed & ~what); }
  [[nodiscard]] bool owes(Owed what) const noexcept { return (owed & what) != 0; }

  void wait_readable();
  void wait_writable();
  void wait_hangup();
  [[nodiscard]] int fd() noexcept { return socket_.native_handle(); }

  const bool messages;  ///< SEQPACKET
  State state = State::greeting;
  std::uint8_t owed = nothing;
  std::uint32_t guest_port = 0;
  std::uint32_t host_port = 0;
  VsockCredit credit;
  bool readable = false;     ///< the host's socket, until it said that there is no more
  bool host_ended = false;   ///< the host sends no more
  bool deaf = false;         ///< the host receives no more
  bool guest_ended = false;  ///< the guest sends no more
  bool guest_deaf = false;   ///< the guest receives no more
  bool asked = false;        ///< the guest for credit, and it gave none yet
  bool too_long = false;     ///< the host sent a message that the guest cannot hold
  std::uint32_t said_shutdown = 0;
  std::uint8_t greeting_size = 0;
  std::array<char, 32> greeting{};

 private:
  static constexpr std::size_t most_runs = 32;

  [[nodiscard]] Result<std::uint32_t> send_now(const Reader& data, std::uint32_t bytes);
  Result<Received> receive_staged(Writer& room, std::uint32_t most);
  void no_input();

  Vsock* device_;
  boost::asio::posix::stream_descriptor socket_;
  VsockBacklog backlog_;
  std::unique_ptr<std::byte[]> staged_;  // of a message: what did not fit into the guest's buffer
  std::uint32_t staged_begin_ = 0;
  std::uint32_t staged_end_ = 0;
  bool reading_ = false;
  bool writing_ = false;
};

}  // namespace trivet::virtio
