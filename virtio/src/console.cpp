// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <trivet/virtio/abi/console.hpp>
#include <trivet/virtio/abi/ids.hpp>
#include <trivet/virtio/config_space.hpp>
#include <trivet/virtio/console.hpp>
#include <trivet/virtio/writer.hpp>

namespace trivet::virtio {

namespace {

namespace asio = boost::asio;

/// Bytes that one call of `process` moves at most.
constexpr std::size_t budget = 64 << 10;

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

/// The waits of one activation; outlives it until the last of them has ended. Never closes a descriptor.
struct Console::Watches : std::enable_shared_from_this<Watches> {
  Watches(Console& owner, const asio::any_io_executor& executor) : console(&owner), input(executor), output(executor) {}

  void stop() noexcept {
    console = nullptr;
    for (auto* descriptor : {&input, &output}) {
      try {
        if (descriptor->is_open()) descriptor->release();
      } catch (const boost::system::system_error&) {
        // It is watched no more, and is not ours to close.
      }
    }
  }

  Console* console;
  asio::posix::stream_descriptor input;
  asio::posix::stream_descriptor output;
  bool reading = false;
  bool input_ended = false;
  bool writing = false;
};

void Console::Buffer::drop(std::size_t count) noexcept {
  begin += count;
  if (begin == end) begin = end = 0;
}

Result<std::unique_ptr<Console>> Console::create(ConsoleOptions options) {
  if (!std::has_single_bit(options.queue_size) || options.queue_size < 2 || options.queue_size > 1024) {
    return Error(Errc::invalid_argument, "create console", "queue_size: a power of two, 2 to 1024");
  }
  TRIVET_TRY(make_non_blocking(options.input_fd, "input_fd"));
  TRIVET_TRY(make_non_blocking(options.output_fd, "output_fd"));
  return std::unique_ptr<Console>(new Console(options));
}

Console::Console(ConsoleOptions options) noexcept
    : options_(options),
      queue_sizes_{options.queue_size, options.queue_size},
      output_is_socket_(is_socket(options.output_fd)),
      size_(std::uint64_t{options.rows} << 16 | options.columns) {}

Console::~Console() {
  reset();
}

/// write(2), but a socket whose peer went away raises no signal.
std::ptrdiff_t Console::put(ConstBytes bytes) const noexcept {
  if (!output_is_socket_) return ::write(options_.output_fd, bytes.data(), bytes.size());
  return ::send(options_.output_fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

// --- configuration ---

std::uint32_t Console::id() const noexcept {
  return static_cast<std::uint32_t>(abi::DeviceId::console);
}

std::uint64_t Console::features() const noexcept {
  const bool has_size = options_.columns != 0 && options_.rows != 0;
  return abi::console_f_emerg_write | (has_size ? abi::console_f_size : 0);
}

std::uint32_t Console::config_generation() const noexcept {
  return static_cast<std::uint32_t>(size_.load(std::memory_order_acquire) >> 32);
}

void Console::read_config(std::uint32_t offset, Bytes out) const noexcept {
  const auto size = size_.load(std::memory_order_acquire);
  abi::ConsoleConfig config{};
  config.cols = static_cast<std::uint16_t>(size);
  config.rows = static_cast<std::uint16_t>(size >> 16);
  copy_config(config, offset, out);
}

void Console::write_config(std::uint32_t offset, ConstBytes in) noexcept {
  if (offset != offsetof(abi::ConsoleConfig, emerg_wr) || in.empty() || options_.output_fd < 0) return;
  (void)put(in.first(1));  // 5.3.4: a character, now or never
}

void Console::resize(std::uint16_t columns, std::uint16_t rows) noexcept {
  if ((features() & abi::console_f_size) == 0) return;
  auto before = size_.load(std::memory_order_relaxed);
  std::uint64_t after = 0;
  do {
    after = ((before >> 32) + 1) << 32 | std::uint64_t{rows} << 16 | columns;
  } while (!size_.compare_exchange_weak(before, after, std::memory_order_acq_rel));
  const std::lock_guard lock(notifier_mutex_);
  if (notifier_ != nullptr && (activation_.features & abi::console_f_size) != 0) notifier_->config_changed();
}

// --- life ---

Result<void> Console::activate(Activation activation) {
  auto watches = std::make_shared<Watches>(*this, activation.executor);
  try {
    if (options_.input_fd >= 0) watches->input.assign(options_.input_fd);
    // One descriptor for both, a socket or a terminal, is watched once.
    if (options_.output_fd >= 0 && options_.output_fd != options_.input_fd) watches->output.assign(options_.output_fd);
  } catch (const boost::system::system_error& error) {
    watches->stop();
    return Error::from_errno(error.code().value(), "activate console", "watch input and output");
  }
  watches_ = std::move(watches);
  const std::lock_guard lock(notifier_mutex_);
  activation_ = std::move(activation);
  notifier_ = activation_.notifier;
  return {};
}

Result<void> Console::start_queue(Queue queue) {
  const auto index = queue.index();
  queues_[index] = std::move(queue);
  if (index == abi::console_receive_queue) wait_for_input();
  return {};
}

std::optional<Queue> Console::stop_queue(unsigned index) noexcept {
  if (index >= queues_.size()) return std::nullopt;
  if (index == abi::console_transmit_queue && transmission_) {
    // Not all of it fit; the rest is dropped rather than sent twice.
    report(queues_[index]->push_used(transmission_->chain, 0).map([] { return More::no; }), index);
    transmission_.reset();
  }
  return std::exchange(queues_[index], std::nullopt);
}

Result<More> Console::process(unsigned index) {
  if (index >= queues_.size() || !queues_[index]) return More::no;
  return index == abi::console_receive_queue ? receive() : transmit();
}

void Console::reset() noexcept {
  if (watches_) watches_->stop();
  watches_.reset();
  transmission_.reset();
  for (auto& queue : queues_) queue.reset();
  const std::lock_guard lock(notifier_mutex_);
  notifier_ = nullptr;
  activation_ = {};
}

void Console::report(const Result<More>& result, unsigned queue) noexcept {
  if (!result) {
    result.error().blame() == Blame::guest ? notifier_->driver_fault(result.error())
                                           : notifier_->host_error(result.error());
  } else if (*result == More::yes) {
    notifier_->wake(queue);
  }
}

void Console::publish(Queue& queue) noexcept {
  if (queue.should_notify()) notifier_->used(queue.index());
}

// --- input: descriptor -> buffer -> receive queue ---

void Console::wait_for_input() {
  if (!watches_ || !watches_->input.is_open() || watches_->reading || watches_->input_ended || input_.size() != 0)
    return;
  watches_->reading = true;
  watches_->input.async_read_some(asio::buffer(input_.bytes),
                                  [watches = watches_](const boost::system::error_code& error, std::size_t bytes) {
                                    if (watches->console == nullptr) return;
                                    watches->reading = false;
                                    watches->input_ended = error.failed();
                                    if (!error) watches->console->input_ready(bytes);
                                  });
}

void Console::input_ready(std::size_t bytes) noexcept {
  input_.begin = 0;
  input_.end = bytes;
  if (queues_[abi::console_receive_queue]) report(receive(), abi::console_receive_queue);
}

Result<More> Console::receive() {
  auto& queue = *queues_[abi::console_receive_queue];
  queue.disable_kicks();  // buffers wait for bytes, not the other way round
  while (input_.size() != 0) {
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

Result<More> Console::transmit() {
  auto& queue = *queues_[abi::console_transmit_queue];
  queue.disable_kicks();
  if (watches_->writing) return More::no;
  for (std::size_t moved = 0; moved < budget;) {
    const auto before = output_.size();
    const auto filled = fill_output();
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

Result<bool> Console::fill_output() {
  auto& queue = *queues_[abi::console_transmit_queue];
  while (output_.end < buffer_size) {
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
    }
  }
  return true;
}

bool Console::drain_output() noexcept {
  while (output_.size() != 0) {
    if (options_.output_fd < 0 || output_gone_) {
      output_.drop(output_.size());
      break;
    }
    const auto put_out = put(std::span(output_.bytes).subspan(output_.begin, output_.size()));
    if (put_out >= 0) {
      output_.drop(static_cast<std::size_t>(put_out));
    } else if (errno == EAGAIN) {
      watches_->writing = true;
      auto& descriptor = watches_->output.is_open() ? watches_->output : watches_->input;
      descriptor.async_wait(asio::posix::stream_descriptor::wait_write,
                            [watches = watches_](const boost::system::error_code& error) {
                              auto* console = watches->console;
                              if (console == nullptr) return;
                              watches->writing = false;
                              if (error) console->output_gone_ = true;
                              if (console->queues_[abi::console_transmit_queue]) {
                                console->report(console->transmit(), abi::console_transmit_queue);
                              }
                            });
      return false;
    } else if (errno != EINTR) {
      output_gone_ = true;  // the reader went away
    }
  }
  return true;
}

}  // namespace trivet::virtio
