// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <trivet/virtio/abi/ids.hpp>
#include <trivet/virtio/abi/rng.hpp>
#include <trivet/virtio/rng.hpp>
#include <trivet/virtio/writer.hpp>

namespace trivet::virtio {

namespace {

namespace asio = boost::asio;

/// Bytes for one buffer: 5.4.6 lets the device give fewer than it could.
constexpr std::uint64_t most_bytes = 4096;
/// Drawn at a time; up to 256 getrandom never gives fewer.
constexpr std::size_t draw_size = 256;

}  // namespace

/// Waits until a source that was empty has bytes again. Outlives its activation until the wait has ended.
struct Rng::Watch {
  Watch(Rng& owner, const asio::any_io_executor& executor) : rng(&owner), source(executor) {}

  void stop() noexcept {
    rng = nullptr;
    try {
      if (source.is_open()) source.release();
    } catch (const boost::system::system_error&) {
      // It is watched no more; the device closes it.
    }
  }

  Rng* rng;
  asio::posix::stream_descriptor source;
  bool waiting = false;
};

Result<std::unique_ptr<Rng>> Rng::create(RateLimits limits) {
  TRIVET_TRY(RateLimiter::check(limits));
  return std::unique_ptr<Rng>(new Rng(UniqueFd(), limits));
}

Result<std::unique_ptr<Rng>> Rng::create(const std::string& path, RateLimits limits) {
  TRIVET_TRY(RateLimiter::check(limits));
  UniqueFd source(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!source.valid()) return Error::from_errno(errno, "open random source", path);
  std::byte first{};
  const auto got = ::read(source.value(), &first, 1);
  if (got < 0 && errno != EAGAIN) return Error::from_errno(errno, "read random source", path);
  if (got == 0) return Error(Errc::invalid_argument, "open random source", path + " is empty");
  return std::unique_ptr<Rng>(new Rng(std::move(source), limits));
}

Rng::~Rng() {
  reset();
}

std::uint32_t Rng::id() const noexcept {
  return static_cast<std::uint32_t>(abi::DeviceId::entropy);
}

void Rng::read_config(std::uint32_t, Bytes out) const noexcept {
  std::ranges::fill(out, std::byte{0});
}

Result<void> Rng::activate(Activation activation) {
  if (source_.valid()) {
    auto watch = std::make_shared<Watch>(*this, activation.executor);
    try {
      watch->source.assign(source_.value());
    } catch (const boost::system::system_error& error) {
      return Error::from_errno(error.code().value(), "watch random source");
    }
    watch_ = std::move(watch);
  }
  limit_.start(activation.executor, [this] { activation_.notifier->wake(abi::rng_request_queue); });
  activation_ = std::move(activation);
  return {};
}

Result<void> Rng::start_queue(Queue queue) {
  queue_ = std::move(queue);
  return {};
}

std::optional<Queue> Rng::stop_queue(unsigned) noexcept {
  return std::exchange(queue_, std::nullopt);
}

void Rng::reset() noexcept {
  if (watch_) watch_->stop();
  watch_.reset();
  limit_.stop();
  queue_.reset();
  activation_ = {};
}

Result<More> Rng::process(unsigned) {
  if (!queue_ || (watch_ && watch_->waiting)) return More::no;
  queue_->disable_kicks();
  auto more = More::yes;
  Result<bool> served = true;
  for (unsigned budget = queue_->size(); budget > 0 && served && more == More::yes; --budget) {
    if (!limit_.ready()) {  // which wakes us
      more = More::no;
      break;
    }
    served = serve();
    if (served && !*served && !queue_->enable_kicks()) more = More::no;
    if (watch_ && watch_->waiting) more = More::no;
  }
  if (queue_->should_notify()) activation_.notifier->used(abi::rng_request_queue);
  if (!served) return served.error();
  return more;
}

/// One buffer. False when there is none, or nothing to put in it.
Result<bool> Rng::serve() {
  TRIVET_ASSIGN(const auto chain, queue_->pop());
  if (!chain) return false;
  TRIVET_ASSIGN(auto writer, Writer::create(*chain));
  std::array<std::byte, draw_size> random;
  while (writer.left() != 0 && writer.written() < most_bytes) {
    const auto wanted = std::min<std::uint64_t>(writer.left(), random.size());
    const auto drawn = draw(std::span(random).first(static_cast<std::size_t>(wanted)));
    if (!drawn || (*drawn == 0 && writer.written() == 0)) {
      TRIVET_TRY(queue_->go_back());
      if (!drawn) return drawn.error();
      wait_for_source();
      return false;
    }
    if (*drawn == 0) break;
    TRIVET_TRY(writer.write(std::span(random).first(*drawn)));
  }
  limit_.spend(writer.written());
  TRIVET_TRY(queue_->push_used(chain->id(), writer.written()));
  return true;
}

Result<std::size_t> Rng::draw(Bytes out) {
  for (bool again = false;;) {
    const auto got =
        source_.valid() ? ::read(source_.value(), out.data(), out.size()) : ::getrandom(out.data(), out.size(), 0);
    if (got > 0) return static_cast<std::size_t>(got);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return std::size_t{0};
    if (got < 0) return Error::from_errno(errno, "read random source");
    if (std::exchange(again, true) || ::lseek(source_.value(), 0, SEEK_SET) != 0) {
      return Error(Errc::io, "read random source", "it has ended", Blame::host);
    }
  }
}

void Rng::wait_for_source() {
  watch_->waiting = true;
  watch_->source.async_wait(asio::posix::stream_descriptor::wait_read,
                            [watch = watch_](const boost::system::error_code& error) {
                              watch->waiting = false;
                              if (watch->rng == nullptr || error) return;
                              watch->rng->activation_.notifier->wake(abi::rng_request_queue);
                            });
}

}  // namespace trivet::virtio
