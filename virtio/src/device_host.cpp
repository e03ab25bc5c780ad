// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <bit>
#include <exception>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include <trivet/virtio/device_host.hpp>

#include "executor_call.hpp"

namespace trivet::virtio {

namespace asio = boost::asio;

/// Waits for one queue's kicks. Lives as long as its last wait, which `stop` ends; never closes the descriptor.
struct DeviceHost::Watch : std::enable_shared_from_this<Watch> {
  Watch(DeviceHost& owner, unsigned queue) : host(&owner), descriptor(owner.executor_), index(queue) {}

  void wait() {
    // More than the 8 bytes of a count: a short read tells asio that the event is drained, which saves a second read.
    descriptor.async_read_some(asio::buffer(count),
                               [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
                                 if (self->host == nullptr) return;
                                 if (error)
                                   return self->host->host_error(Error::from_errno(error.value(), "wait for a kick"));
                                 self->host->process(self->index);
                                 if (self->host != nullptr) self->wait();
                               });
  }

  void stop() noexcept {
    host = nullptr;
    try {
      if (descriptor.is_open()) descriptor.release();
    } catch (const std::exception&) {
      // Nothing is left to wait for, and the descriptor is not ours to close.
    }
  }

  DeviceHost* host;
  asio::posix::stream_descriptor descriptor;
  std::array<std::byte, 16> count{};
  unsigned index;
};

DeviceHost::DeviceHost(Device& device, asio::any_io_executor executor, DeviceHome& home, ErrorLog log)
    : device_(device),
      executor_(std::move(executor)),
      home_(home),
      log_(std::move(log)),
      watches_(device.queue_sizes().size()),
      self_(std::make_shared<DeviceHost*>(this)) {}

DeviceHost::~DeviceHost() {
  reset_here();
  *self_ = nullptr;
}

Result<void> DeviceHost::activate(std::uint64_t features, std::vector<Start> queues) {
  Result<void> result;
  const bool ran = run_on_executor(executor_, [&] {
    if (reset_owed_) reset_here();
    if (active_) {
      result = Error(Errc::bad_state, "activate", "the device is active");
      return;
    }
    result = device_.activate(Activation{features, this, executor_});
    active_ = result.has_value();
    for (auto& queue : queues) {
      if (result) result = start_here(std::move(queue));
    }
    if (!result) reset_here();
  });
  if (!ran) return Error(Errc::bad_state, "activate", "the device's event loop has ended", Blame::host);
  return result;
}

Result<void> DeviceHost::start_queue(Start start) {
  Result<void> result;
  if (!run_on_executor(executor_, [&] { result = start_here(std::move(start)); })) {
    return Error(Errc::bad_state, "start queue", "the device's event loop has ended", Blame::host);
  }
  return result;
}

Result<std::optional<Queue>> DeviceHost::stop_queue(unsigned index) {
  std::optional<Queue> queue;
  if (!run_on_executor(executor_, [&] { queue = stop_here(index); })) {
    return Error(Errc::bad_state, "stop queue", "the device's event loop has ended", Blame::host);
  }
  return queue;
}

bool DeviceHost::reset() {
  reset_owed_ = true;
  return run_on_executor(executor_, [&] { reset_here(); });
}

void DeviceHost::kick(unsigned index) {
  asio::post(executor_, [self = self_, index] {
    if (*self != nullptr) (*self)->process(index);
  });
}

Result<void> DeviceHost::start_here(Start start) {
  const auto index = start.queue.index();
  if (!active_ || index >= watches_.size() || watches_[index]) {
    return Error(Errc::bad_state, "start queue",
                 active_ ? "no such queue, or it is started" : "the device is inactive");
  }
  TRIVET_TRY(device_.start_queue(std::move(start.queue)));
  try {
    auto watch = std::make_shared<Watch>(*this, index);
    watch->descriptor.assign(start.kick_fd);
    watch->wait();
    watches_[index] = std::move(watch);
  } catch (const boost::system::system_error& error) {
    (void)device_.stop_queue(index);
    return Error::from_errno(error.code().value(), "watch a queue's kicks");
  }
  kick(index);  // the driver may have kicked before anybody listened
  return {};
}

std::optional<Queue> DeviceHost::stop_here(unsigned index) noexcept {
  if (index >= watches_.size() || !watches_[index]) return std::nullopt;
  watches_[index]->stop();
  watches_[index].reset();
  return device_.stop_queue(index);
}

void DeviceHost::reset_here() noexcept {
  for (auto& watch : watches_) {
    if (watch) watch->stop();
    watch.reset();
  }
  if (active_) device_.reset();
  active_ = false;
  faulted_ = false;
  reset_owed_ = false;
}

void DeviceHost::process(unsigned index) noexcept {
  if (faulted_.load(std::memory_order_relaxed) || reset_owed_.load(std::memory_order_relaxed)) return;
  if (index >= watches_.size() || !watches_[index]) return;
  const auto more = device_.process(index);
  if (!more) {
    more.error().blame() == Blame::guest ? driver_fault(more.error()) : host_error(more.error());
  } else if (*more == More::yes) {
    kick(index);
  }
}

void DeviceHost::driver_fault(const Error& error) noexcept {
  if (faulted_.exchange(true)) return;
  log(error, faults_logged_);
  home_.needs_reset();
}

void DeviceHost::host_error(const Error& error) noexcept {
  log(error, errors_logged_);
}

void DeviceHost::log(const Error& error, std::atomic<std::uint64_t>& count) noexcept {
  constexpr std::uint64_t all_of = 8;
  const auto nth = count.fetch_add(1, std::memory_order_relaxed) + 1;
  if (!log_ || (nth > all_of && !std::has_single_bit(nth))) return;
  try {
    log_(error.within(device_.name()));
  } catch (const std::exception&) {
    // A log that fails must not take the device with it.
  }
}

}  // namespace trivet::virtio
