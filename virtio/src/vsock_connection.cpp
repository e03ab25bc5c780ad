// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "vsock_connection.hpp"

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <sys/socket.h>

namespace trivet::virtio {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;

/// Messages that one call of `flush` passes on.
constexpr unsigned most_messages = 64;

std::ptrdiff_t send_runs(int fd, std::span<const iovec> runs) noexcept {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(runs.data());  // sendmsg does not write them
  message.msg_iovlen = runs.size();
  for (;;) {
    const auto sent = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0 || errno != EINTR) return sent;
  }
}

/// The next bytes of the room as runs: `bytes`, or as many as `out` has place for.
Result<std::size_t> runs_of(Writer& room, std::uint32_t& bytes, std::span<memory::Slice> out) {
  for (;;) {
    auto count = room.slices(bytes, out);
    if (count || count.error().code() != Errc::limit || bytes == 1) return count;
    bytes /= 2;
  }
}

}  // namespace

VsockConnection::VsockConnection(Vsock& device, const asio::any_io_executor& executor, UniqueFd socket,
                                 bool with_messages, std::uint32_t buffer)
    : messages(with_messages),
      credit(buffer),
      device_(&device),
      socket_(executor),
      backlog_(buffer, with_messages),
      staged_(with_messages ? new std::byte[buffer] : nullptr) {
  socket_.assign(socket.value());
  (void)socket.release();
}

void VsockConnection::close() noexcept {
  device_ = nullptr;
  unlink();
  error_code ignored;
  socket_.close(ignored);
}

// --- waiting ---

void VsockConnection::wait_readable() {
  if (reading_ || device_ == nullptr) return;
  reading_ = true;
  socket_.async_wait(asio::posix::stream_descriptor::wait_read, [self = shared_from_this()](const error_code&) {
    self->reading_ = false;
    if (self->device_ != nullptr) self->device_->readable(*self);
  });
}

void VsockConnection::wait_writable() {
  if (writing_ || device_ == nullptr) return;
  writing_ = true;
  socket_.async_wait(asio::posix::stream_descriptor::wait_write, [self = shared_from_this()](const error_code&) {
    self->writing_ = false;
    if (self->device_ != nullptr) self->device_->writable(*self);
  });
}

void VsockConnection::wait_hangup() {
  socket_.async_wait(asio::posix::stream_descriptor::wait_error, [self = shared_from_this()](const error_code&) {
    // Urgent bytes look alike.
    pollfd look{self->device_ != nullptr ? self->fd() : -1, 0, 0};
    if (::poll(&look, 1, 0) == 1 && self->device_ != nullptr) self->device_->hung_up(*self);
  });
}

// --- guest to host ---

void VsockConnection::host_gone() noexcept {
  deaf = true;
  credit.forward(credit.held());
  backlog_.drop(backlog_.size());
}

Result<std::uint32_t> VsockConnection::send_now(const Reader& data, std::uint32_t bytes) {
  std::array<memory::Slice, most_runs> slices;
  auto probe = data;
  const auto count = probe.slices(bytes, slices);
  if (!count) {
    if (count.error().code() == Errc::limit) return 0U;  // cut too small: through the backlog
    return count.error();
  }
  std::array<iovec, most_runs> runs;
  for (std::size_t i = 0; i < *count; ++i) runs[i] = {slices[i].host(), static_cast<std::size_t>(slices[i].size())};
  const auto sent = send_runs(fd(), std::span(runs).first(*count));
  if (sent >= 0) return static_cast<std::uint32_t>(sent);
  if (errno != EAGAIN && errno != ENOBUFS) deaf = true;
  return 0U;
}

Result<void> VsockConnection::send(Reader& data, std::uint32_t bytes, bool ends_message) {
  ends_message = ends_message && messages;
  if (!deaf && bytes != 0 && backlog_.size() == 0 && (ends_message || !messages)) {
    TRIVET_ASSIGN(const auto sent, send_now(data, bytes));
    TRIVET_TRY(data.skip(sent));
    credit.forward(sent);
    bytes -= sent;
    if (bytes == 0 && !deaf) return {};
  }
  if (deaf) {
    host_gone();
    return {};
  }
  TRIVET_TRY(backlog_.append(data, bytes));
  if (ends_message) backlog_.end_message();
  if (!messages || ends_message) wait_writable();
  return {};
}

void VsockConnection::flush() {
  for (unsigned turns = 0; !deaf; ++turns) {
    std::array<iovec, 2> space;
    const auto runs = backlog_.front(space);
    if (runs.empty()) break;
    if (turns == most_messages) return wait_writable();
    const auto sent = send_runs(fd(), runs);
    if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) return wait_writable();
    if (sent < 0) {
      host_gone();
      break;
    }
    backlog_.drop(static_cast<std::uint32_t>(sent));
    credit.forward(static_cast<std::uint32_t>(sent));
  }
  if (!guest_ended) return;
  credit.forward(backlog_.size());  // a message that will never be whole
  backlog_.drop(backlog_.size());
  (void)::shutdown(fd(), SHUT_WR);
}

bool VsockConnection::say(std::string_view line) noexcept {
  const auto sent = ::send(fd(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != static_cast<std::ptrdiff_t>(line.size())) deaf = true;
  return !deaf;
}

void VsockConnection::end_sending() {
  guest_ended = true;
  flush();
}

// --- host to guest ---

void VsockConnection::end_receiving() noexcept {
  guest_deaf = true;
  staged_begin_ = staged_end_ = 0;
  (void)::shutdown(fd(), SHUT_RD);
}

void VsockConnection::no_input() {
  readable = false;
  wait_readable();
}

Result<VsockConnection::Received> VsockConnection::receive_staged(Writer& room, std::uint32_t most) {
  const auto bytes = std::min(most, staged_end_ - staged_begin_);
  TRIVET_TRY(room.write({staged_.get() + staged_begin_, bytes}));
  staged_begin_ += bytes;
  return Received{bytes, staged_begin_ == staged_end_};
}

Result<VsockConnection::Received> VsockConnection::receive(Writer& room, std::uint32_t most) {
  if (staged_begin_ < staged_end_) return receive_staged(room, most);
  std::array<memory::Slice, most_runs> slices;
  TRIVET_ASSIGN(const auto count, runs_of(room, most, slices));
  std::array<iovec, most_runs + 1> runs;
  for (std::size_t i = 0; i < count; ++i) runs[i] = {slices[i].host(), static_cast<std::size_t>(slices[i].size())};
  if (messages) runs[count] = {staged_.get(), credit.buffer()};
  msghdr message{};
  message.msg_iov = runs.data();
  message.msg_iovlen = count + (messages ? 1 : 0);
  std::ptrdiff_t got = 0;
  do {
    got = ::recvmsg(fd(), &message, MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) {
    no_input();
    return Received{};
  }
  if (got <= 0) {
    host_ended = true;
    return Received{};
  }
  const auto bytes = static_cast<std::uint32_t>(std::min<std::ptrdiff_t>(got, most));
  std::uint64_t marked = 0;
  for (std::size_t i = 0; i < count && marked < bytes; ++i) {
    const auto part = std::min<std::uint64_t>(slices[i].size(), bytes - marked);
    slices[i].mark_written(0, part);
    marked += part;
  }
  if (!messages) {
    if (bytes < most) no_input();  // it gave all it had
    return Received{bytes, false};
  }
  staged_begin_ = 0;
  staged_end_ = static_cast<std::uint32_t>(got) - bytes;
  if ((message.msg_flags & MSG_TRUNC) != 0 || static_cast<std::uint64_t>(got) > credit.guest_buffer()) {
    too_long = true;
    staged_end_ = 0;
    return Received{};
  }
  return Received{bytes, staged_end_ == 0};
}

}  // namespace trivet::virtio
