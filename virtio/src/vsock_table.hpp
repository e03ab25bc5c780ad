// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/intrusive/list.hpp>

#include <trivet/virtio/vsock.hpp>

#include "vsock_connection.hpp"

namespace trivet::virtio {

/// Waits for programs that connect to one of the device's sockets. Outlives its activation until the wait has ended;
/// never closes the socket.
struct Vsock::Listener {
  Listener(Vsock& owner, const boost::asio::any_io_executor& executor, bool seqpacket)
      : device(&owner), socket(executor), messages(seqpacket) {}

  void stop() noexcept;

  Vsock* device;
  boost::asio::posix::stream_descriptor socket;
  bool messages;
  bool waiting = false;
};

/// All connections, and those that have something for the guest, in the order of their turns.
struct Vsock::Table {
  using Ready = boost::intrusive::list<VsockConnection, boost::intrusive::constant_time_size<false>>;

  static std::uint64_t key(std::uint32_t guest_port, std::uint32_t host_port) noexcept {
    return std::uint64_t{guest_port} << 32 | host_port;
  }
  [[nodiscard]] VsockConnection* find(std::uint32_t guest_port, std::uint32_t host_port) const noexcept {
    const auto found = by_ports.find(key(guest_port, host_port));
    return found == by_ports.end() ? nullptr : found->second.get();
  }
  /// Takes a connection out of wherever it is.
  std::shared_ptr<VsockConnection> remove(VsockConnection& connection);

  std::unordered_map<std::uint64_t, std::shared_ptr<VsockConnection>> by_ports;  // what the guest knows
  std::vector<std::shared_ptr<VsockConnection>> others;                          // greeting and lingering
  Ready ready;
};

}  // namespace trivet::virtio
