// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A console port's socket: one program of the host's at a time.
#include <cerrno>
#include <exception>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

#include "console_port.hpp"
#include "console_watches.hpp"

namespace trivet::virtio {

using boost::asio::posix::stream_descriptor;

void ConsolePort::wait_for_client() {
  if (!watches_ || !watches_->listener.is_open() || client_.valid() || watches_->accepting) return;
  watches_->accepting = true;
  watches_->listener.async_wait(stream_descriptor::wait_read, [watches = watches_](const boost::system::error_code&) {
    auto* const port = watches->port;
    if (port == nullptr) return;
    watches->accepting = false;
    UniqueFd client(::accept4(port->listener_.value(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    const int why = errno;
    if (client.valid()) return port->client_came(std::move(client));
    // Out of descriptors or memory: looking again at once would not end.
    if (why != EAGAIN && why != EINTR && why != ECONNABORTED) {
      return port->notifier_->host_error(Error::from_errno(why, "accept", port->options_.socket));
    }
    port->wait_for_client();
  });
}

void ConsolePort::client_came(UniqueFd client) {
  try {
    watches_->input.assign(client.value());
  } catch (const std::exception& failure) {
    notifier_->host_error(Error(Errc::no_memory, "watch a console port's program", failure.what(), Blame::host));
    return wait_for_client();
  }
  client_ = std::move(client);
  input_fd_ = output_fd_ = client_.value();
  output_is_socket_ = true;
  output_gone_ = false;
  watches_->input_ended = false;
  host_changed(true);
  wait_for_input();
  wait_for_hangup();
}

void ConsolePort::client_left() noexcept {
  ++watches_->session;
  Watches::release(watches_->input);
  watches_->reading = watches_->writing = watches_->awaits_hangup = false;
  client_.reset();
  input_fd_ = output_fd_ = -1;
  input_.drop(input_.size());
  host_changed(false);
  if (queues_[1]) report(transmit(), 1);  // what waited for it is dropped
  wait_for_client();
}

bool ConsolePort::hung_up() const noexcept {
  pollfd look{client_.value(), 0, 0};  // POLLHUP and POLLERR come unasked for
  return ::poll(&look, 1, 0) != 0;
}

bool ConsolePort::only_hangs_up() const noexcept {
  return !takes_input() || watches_->input_ended;
}

/// While the input is not read, nothing else tells that the program went away.
void ConsolePort::wait_for_hangup() {
  if (!watches_ || !client_.valid() || !only_hangs_up() || watches_->awaits_hangup) return;
  watches_->awaits_hangup = true;
  watches_->input.async_wait(stream_descriptor::wait_error,
                             [watches = watches_, session = watches_->session](const boost::system::error_code& error) {
                               auto* const port = watches->port;
                               if (port == nullptr || watches->session != session) return;
                               watches->awaits_hangup = false;
                               if (!error && port->only_hangs_up()) port->client_left();
                             });
}

}  // namespace trivet::virtio
