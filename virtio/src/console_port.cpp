// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "console_port.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <trivet/virtio/abi/console.hpp>
#include <trivet/virtio/writer.hpp>

#include "console_watches.hpp"
#include "vsock_address.hpp"

namespace trivet::virtio {

namespace {

/// Bytes that one call of `process` moves at most.
constexpr std::size_t budget = 64 << 10;
constexpr unsigned receives = 0;
constexpr unsigned transmits = 1;

Result<void> make_non_blocking(int fd, const char* what) {
  if (fd < 0) return {};
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && ((flags & O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0)) return {};
  return Error::from_errno(errno, "create console", what);
}

bool is_socket(int fd) noexcept {
  struct stat status = {};
  return fd >= 0 && ::fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

}  // namespace

void ConsolePort::Buffer::drop(std::size_t count) noexcept {
  begin += count;
  if (begin == end) begin = end = 0;
}

// --- life ---

ConsolePort::ConsolePort(unsigned id, ConsolePortOptions options) noexcept
    : id_(id),
      options_(std::move(options)),
      input_fd_(options_.input_fd),
      output_fd_(options_.output_fd),
      output_is_socket_(is_socket(output_fd_)),
      host_open_(input_fd_ >= 0 || output_fd_ >= 0) {}

ConsolePort::~ConsolePort() {
  reset();
  if (listener_.valid()) ::unlink(options_.socket.c_str());
}

Result<void> ConsolePort::prepare() {
  TRIVET_TRY(make_non_blocking(input_fd_, "input_fd"));
  TRIVET_TRY(make_non_blocking(output_fd_, "output_fd"));
  return options_.socket.empty() ? Result<void>() : listen();
}

Result<void> ConsolePort::listen() {
  constexpr const char* operation = "make a console port's socket";
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return Error::from_errno(errno, operation);
  if (!bind_to(socket.value(), options_.socket)) return Error::from_errno(errno, operation, options_.socket);
  listener_ = std::move(socket);  // from here on it is removed again
  if (::listen(listener_.value(), 8) != 0) return Error::from_errno(errno, operation, options_.socket);
  return {};
}

Result<void> ConsolePort::activate(const boost::asio::any_io_executor& executor, Notifier& notifier, bool multiport) {
  catch_up();
  if (taken_out || (!multiport && id_ != 0)) return {};  // which no driver will use
  auto watches = std::make_shared<Watches>(*this, executor);
  try {
    if (listener_.valid()) watches->listener.assign(listener_.value());
    if (input_fd_ >= 0) watches->input.assign(input_fd_);
    // One descriptor for both, a socket or a terminal, is watched once.
    if (output_fd_ >= 0 && output_fd_ != input_fd_) watches->output.assign(output_fd_);
  } catch (const boost::system::system_error& error) {
    watches->stop();
    return Error::from_errno(error.code().value(), "activate console", "watch input and output");
  }
  watches_ = std::move(watches);
  notifier_ = &notifier;
  multiport_ = multiport;
  wait_for_client();
  wait_for_hangup();
  return {};
}

void ConsolePort::reset() noexcept {
  if (watches_) watches_->stop();
  watches_.reset();
  transmission_.reset();
  for (auto& queue : queues_) queue.reset();
  added_ = ready_ = guest_open_ = false;
  news_ = 0;
  notifier_ = nullptr;
}

void ConsolePort::start_queue(Queue queue, unsigned side) {
  queues_.at(side) = std::move(queue);
  if (side == receives) wait_for_input();
}

std::optional<Queue> ConsolePort::stop_queue(unsigned side) noexcept {
  if (side == transmits && transmission_) {
    // Not all of it fit; the rest is dropped rather than sent twice.
    report(queues_[transmits]->push_used(transmission_->chain, 0).map([] { return More::no; }), side);
    transmission_.reset();
  }
  return std::exchange(queues_.at(side), std::nullopt);
}

Result<More> ConsolePort::process(unsigned side) {
  if (!queues_.at(side) || !watches_) return More::no;
  return side == receives ? receive() : transmit();
}

void ConsolePort::report(const Result<More>& result, unsigned side) noexcept {
  if (!result) {
    result.error().blame() == Blame::guest ? notifier_->driver_fault(result.error())
                                           : notifier_->host_error(result.error());
  } else if (*result == More::yes) {
    notifier_->wake(queues_.at(side)->index());
  }
}

void ConsolePort::publish(Queue& queue) noexcept {
  if (queue.should_notify()) notifier_->used(queue.index());
}

// --- what control messages are about ---

bool ConsolePort::exists() const noexcept {
  return !taken_out && (options_.input_fd >= 0 || options_.output_fd >= 0 || !options_.socket.empty());
}

void ConsolePort::driver_starts() noexcept {
  added_ = ready_ = guest_open_ = false;
  news_ = exists() ? unsigned{news_add} : 0U;
}

void ConsolePort::driver_ready(bool ready) noexcept {
  ready_ = ready;
  if (!ready) return;
  if (options_.is_console) news_ |= news_console;
  if (!options_.name.empty()) news_ |= news_name;
  if (options_.is_console && size != 0) news_ |= news_size;
  if (host_open_) news_ |= news_open;
}

void ConsolePort::driver_opened(bool open) noexcept {
  guest_open_ = open;
  if (!open) return wait_for_hangup();
  if (queues_[receives] && watches_) report(receive(), receives);
}

void ConsolePort::host_changed(bool open) noexcept {
  if (std::exchange(host_open_, open) == open || !multiport_ || !ready_) return;
  news_ = open ? news_ | news_open : (news_ & ~unsigned{news_open}) | news_closed;
  notifier_->wake(abi::console_control_receive_queue);
}

void ConsolePort::catch_up() noexcept {
  if (resized.exchange(false) && ready_) news_ |= news_size;
  if (!taken_out || std::exchange(closed_, true)) return;
  if (watches_) watches_->stop();
  watches_.reset();
  client_.reset();
  if (std::exchange(listener_, UniqueFd()).valid()) ::unlink(options_.socket.c_str());
  news_ = added_ ? unsigned{news_remove} : 0U;
  added_ = ready_ = false;
}

// --- input: descriptor -> buffer -> receive queue ---

void ConsolePort::wait_for_input() {
  if (!watches_ || !watches_->input.is_open() || watches_->reading || watches_->input_ended || input_.size() != 0 ||
      !takes_input())
    return;
  watches_->reading = true;
  watches_->input.async_read_some(
      boost::asio::buffer(input_.bytes),
      [watches = watches_, session = watches_->session](const boost::system::error_code& error, std::size_t bytes) {
        if (watches->port == nullptr || watches->session != session) return;
        watches->reading = false;
        if (error) return watches->port->input_ended();
        watches->port->input_ready(bytes);
      });
}

void ConsolePort::input_ready(std::size_t bytes) noexcept {
  input_.begin = 0;
  input_.end = bytes;
  if (queues_[receives]) report(receive(), receives);
}

void ConsolePort::input_ended() noexcept {
  watches_->input_ended = true;
  if (client_.valid()) return hung_up() ? client_left() : wait_for_hangup();  // it may still read
  if (output_fd_ < 0 || output_fd_ == input_fd_) host_changed(false);
}

Result<More> ConsolePort::receive() {
  auto& queue = *queues_[receives];
  queue.disable_kicks();           // buffers wait for bytes, not the other way round
  unsigned chains = queue.size();  // some take nothing
  while (input_.size() != 0 && takes_input()) {
    if (chains-- == 0) {
      publish(queue);
      return More::yes;
    }
    TRIVET_ASSIGN(auto chain, queue.pop());
    if (!chain) {
      if (queue.enable_kicks()) continue;
      break;
    }
    TRIVET_ASSIGN(auto writer, Writer::create(*chain));
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(writer.left(), input_.size()));
    TRIVET_TRY(writer.write(std::span(input_.bytes).subspan(input_.begin, bytes)));
    TRIVET_TRY(queue.push_used(chain->id(), writer.written()));
    input_.drop(bytes);
  }
  publish(queue);
  wait_for_input();
  return More::no;
}

// --- output: transmit queue -> buffer -> descriptor ---

/// write(2), but a socket whose peer went away raises no signal.
std::ptrdiff_t ConsolePort::put(ConstBytes bytes) const noexcept {
  if (!output_is_socket_) return ::write(output_fd_, bytes.data(), bytes.size());
  return ::send(output_fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

void ConsolePort::put_now(ConstBytes bytes) const noexcept {
  if (options_.output_fd >= 0 && !taken_out) (void)put(bytes);
}

Result<More> ConsolePort::transmit() {
  auto& queue = *queues_[transmits];
  queue.disable_kicks();
  if (watches_->writing) return More::no;
  unsigned chains = queue.size();  // some hold nothing
  for (std::size_t moved = 0; moved < budget && chains != 0;) {
    const auto before = output_.size();
    const auto filled = fill_output(chains);
    moved += std::max<std::size_t>(output_.size() - before, 1);
    const bool taken = drain_output();
    if (!filled || !taken) {
      publish(queue);
      return filled ? Result<More>(More::no) : Result<More>(filled.error());
    }
    if (!*filled && output_.size() == 0 && !queue.enable_kicks()) {
      publish(queue);
      return More::no;
    }
  }
  publish(queue);
  return More::yes;
}

Result<bool> ConsolePort::fill_output(unsigned& chains) {
  auto& queue = *queues_[transmits];
  while (output_.end < buffer_size && chains != 0) {
    if (!transmission_) {
      TRIVET_ASSIGN(const auto chain, queue.pop());
      if (!chain) return false;
      TRIVET_ASSIGN(const auto reader, Reader::create(*chain));
      transmission_ = Transmission{chain->id(), reader};
    }
    auto& rest = transmission_->rest;
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(rest.left(), buffer_size - output_.end));
    TRIVET_TRY(rest.read(std::span(output_.bytes).subspan(output_.end, bytes)));
    output_.end += bytes;
    if (rest.left() == 0) {
      const auto chain = std::exchange(transmission_, std::nullopt)->chain;
      TRIVET_TRY(queue.push_used(chain, 0));
      --chains;
    }
  }
  return true;
}

bool ConsolePort::drain_output() noexcept {
  while (output_.size() != 0) {
    if (output_fd_ < 0 || output_gone_) {
      output_.drop(output_.size());
      break;
    }
    const auto put_out = put(std::span(output_.bytes).subspan(output_.begin, output_.size()));
    if (put_out >= 0) {
      output_.drop(static_cast<std::size_t>(put_out));
    } else if (errno == EAGAIN) {
      wait_to_write();
      return false;
    } else if (errno != EINTR) {
      output_gone_ = true;  // the reader went away
    }
  }
  return true;
}

void ConsolePort::wait_to_write() {
  watches_->writing = true;
  auto& descriptor = watches_->output.is_open() ? watches_->output : watches_->input;
  descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_write,
                        [watches = watches_, session = watches_->session](const boost::system::error_code& error) {
                          auto* port = watches->port;
                          if (port == nullptr || watches->session != session) return;
                          watches->writing = false;
                          if (error) port->output_gone_ = true;
                          if (port->queues_[transmits]) port->report(port->transmit(), transmits);
                        });
}

}  // namespace trivet::virtio
