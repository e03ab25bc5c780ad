// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The socket device: programs of the host, that connect and that are connected to.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <exception>
#include <fmt/format.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <trivet/virtio/vsock.hpp>

#include "vsock_address.hpp"
#include "vsock_table.hpp"

namespace trivet::virtio {

namespace {

using State = VsockConnection::State;

/// Programs that one look at a listener lets in.
constexpr unsigned most_accepted = 16;

/// Fills `address`; false with errno when the path is too long.
bool address_of(const std::string& path, sockaddr_un& address) noexcept {
  address = {};
  address.sun_family = AF_UNIX;
  errno = ENAMETOOLONG;
  if (path.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.data(), path.size());
  return true;
}

/// bind(2) and connect(2) take any family's address by a pointer to their common start.
const sockaddr* any(const sockaddr_un& address) noexcept {
  return static_cast<const sockaddr*>(static_cast<const void*>(&address));
}

/// The port of "CONNECT <port>", as Firecracker reads it.
std::optional<std::uint32_t> wanted_port(std::string_view line) {
  constexpr std::string_view word = "connect ";
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  if (line.size() <= word.size() || ::strncasecmp(line.data(), word.data(), word.size()) != 0) return std::nullopt;
  line.remove_prefix(word.size());
  std::uint32_t port = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), port);
  if (error != std::errc() || end != line.data() + line.size()) return std::nullopt;
  return port;
}

}  // namespace

bool bind_to(int socket, const std::string& path) noexcept {
  sockaddr_un address;
  return address_of(path, address) && ::bind(socket, any(address), sizeof address) == 0;
}

bool connect_to(int socket, const std::string& path) noexcept {
  sockaddr_un address;
  return address_of(path, address) && ::connect(socket, any(address), sizeof address) == 0;
}

/// One more, that waits for its host's program; null where there is no memory for it.
std::shared_ptr<VsockConnection> Vsock::make_connection(UniqueFd socket, bool messages) noexcept {
  try {
    auto connection = std::make_shared<VsockConnection>(*this, activation_.executor, std::move(socket), messages,
                                                        options_.buffer_size);
    connection->wait_readable();
    connection->wait_hangup();
    ++count_;
    return connection;
  } catch (const std::exception& failure) {  // Asio, or memory
    notifier_->host_error(Error(Errc::no_memory, "make a connection", failure.what(), Blame::host));
    return nullptr;
  }
}

// --- host programs that connect ---

void Vsock::accept(Listener& listener) {
  if (listener.waiting || full()) return;  // the others stay in the backlog until one ends
  listener.waiting = true;
  listener.socket.async_wait(
      boost::asio::posix::stream_descriptor::wait_read,
      [it = listeners_[listener.messages ? 1 : 0]](const boost::system::error_code&) {
        auto* const device = it->device;
        it->waiting = false;
        if (device == nullptr) return;
        for (unsigned i = 0; i < most_accepted && !device->full(); ++i) {
          UniqueFd socket(::accept4(it->socket.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
          if (!socket.valid()) {
            if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) break;
            // Out of descriptors or memory: the next connection that ends looks again.
            return device->notifier_->host_error(Error::from_errno(errno, "accept", device->options_.path));
          }
          if (auto connection = device->make_connection(std::move(socket), it->messages)) {
            device->table_->others.push_back(std::move(connection));
          }
        }
        device->accept(*it);
      });
}

void Vsock::greet(VsockConnection& connection) {
  auto& size = connection.greeting_size;
  const auto room = connection.greeting.size() - size;
  auto* const at = connection.greeting.data() + size;
  // What follows the line belongs to the guest: looked at first, then taken to the line's end.
  const auto seen = ::recv(connection.fd(), at, room, MSG_PEEK | MSG_DONTWAIT);
  if (seen < 0 && (errno == EAGAIN || errno == EINTR)) return connection.wait_readable();
  if (seen <= 0) return end(connection);
  const auto* const newline = std::find(at, at + seen, '\n');
  const bool whole = connection.messages || newline != at + seen;
  const auto taken = connection.messages ? seen : newline - at + (whole ? 1 : 0);
  if (::recv(connection.fd(), at, static_cast<std::size_t>(taken), MSG_DONTWAIT) != taken) return end(connection);
  size = static_cast<std::uint8_t>(size + taken);
  if (!whole && size < connection.greeting.size()) return connection.wait_readable();
  const auto port = whole ? wanted_port({connection.greeting.data(), size}) : std::nullopt;
  if (!port || !speaks(connection.messages ? abi::vsock_type_seqpacket : abi::vsock_type_stream)) {
    return end(connection);
  }
  auto ours = table_->remove(connection);
  do {
    connection.host_port = next_port_;
    next_port_ = (next_port_ + 1) & 0x7fffffff;
    if (next_port_ == 0) next_port_ = std::uint32_t{1} << 30;
  } while (table_->find(*port, connection.host_port) != nullptr);
  connection.guest_port = *port;
  connection.state = State::requesting;
  connection.owe(VsockConnection::request);
  table_->by_ports.emplace(Table::key(*port, connection.host_port), std::move(ours));
  schedule(connection);
  serve();
}

/// The guest has accepted.
void Vsock::answer(VsockConnection& connection) {
  connection.state = State::connected;
  if (!connection.say(fmt::format("OK {}\n", connection.host_port))) return connection.break_off();
  connection.wait_readable();
}

// --- host programs that the guest connects to ---

void Vsock::connect(const abi::VsockHeader& request) {
  const bool messages = request.type.value() == abi::vsock_type_seqpacket;
  const int type = messages ? SOCK_SEQPACKET : SOCK_STREAM;
  UniqueFd socket(full() ? -1 : ::socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  // A Unix socket connects at once or not at all: nobody there, another type, or a backlog that is full.
  if (!socket.valid() || !connect_to(socket.value(), fmt::format("{}_{}", options_.path, request.dst_port.value()))) {
    return refuse(request);
  }
  auto connection = make_connection(std::move(socket), messages);
  if (!connection) return refuse(request);
  connection->guest_port = request.src_port.value();
  connection->host_port = request.dst_port.value();
  connection->state = State::connected;
  connection->credit.heard(request.buf_alloc.value(), request.fwd_cnt.value());
  connection->owe(VsockConnection::response);
  schedule(*connection);
  table_->by_ports.emplace(Table::key(connection->guest_port, connection->host_port), std::move(connection));
}

// --- what connections tell ---

void Vsock::readable(VsockConnection& connection) {
  if (connection.state == State::greeting) return greet(connection);
  connection.readable = true;
  schedule(connection);
  serve();
}

void Vsock::writable(VsockConnection& connection) {
  connection.flush();
  if (connection.state == State::lingering) {
    if (connection.drained()) end(connection);
    return;
  }
  if (connection.state == State::ended) return;  // the guest needs to know no more than that
  connection.owe_shutdown();
  if (connection.credit.must_tell()) connection.owe(VsockConnection::credit_update);
  schedule(connection);
  serve();
}

void Vsock::hung_up(VsockConnection& connection) {
  switch (connection.state) {
    case State::greeting:
    case State::lingering:
      return end(connection);
    case State::requesting:
      if (connection.owes(VsockConnection::request)) return end(connection);  // the guest has not heard of it
      connection.break_off();
      break;
    case State::connected:
      connection.host_gone();
      connection.owe_shutdown();
      break;
    case State::ended:
      return;
  }
  schedule(connection);
  serve();
}

}  // namespace trivet::virtio
