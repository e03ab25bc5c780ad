// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "end_watch.hpp"

#include <cerrno>
#include <chrono>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace trivet::xen {
namespace {

constexpr std::chrono::milliseconds period{50};

}  // namespace

bool EndWatch::bind_interrupt() {
  auto channels = open_event_channels();
  if (!channels || xenevtchn_bind_virq(channels->get(), VIRQ_DOM_EXC) < 0) return false;
  interrupt_ = std::move(*channels);
  return true;
}

Result<void> EndWatch::start_timer() {
  constexpr auto operation = "watch for the end of a domain";
  timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer_.valid()) return Error::from_errno(errno, operation, "a timer");
  itimerspec times{};
  times.it_interval.tv_nsec = std::chrono::nanoseconds(period).count();
  times.it_value = times.it_interval;
  if (::timerfd_settime(timer_.value(), 0, &times, nullptr) != 0) return Error::from_errno(errno, operation, "a timer");
  return {};
}

Result<EndWatch> EndWatch::create(Of of) {
  EndWatch watch;
  if (of == Of::attached || !watch.bind_interrupt()) TRIVET_TRY(watch.start_timer());
  return watch;
}

int EndWatch::fd() const noexcept {
  return interrupt_ ? xenevtchn_fd(interrupt_.get()) : timer_.value();
}

void EndWatch::take() noexcept {
  if (interrupt_) {
    pollfd ready{fd(), POLLIN, 0};
    if (::poll(&ready, 1, 0) != 1) return;  // xenevtchn_pending would block
    const auto port = xenevtchn_pending(interrupt_.get());
    if (port >= 0) (void)xenevtchn_unmask(interrupt_.get(), static_cast<evtchn_port_t>(port));
    return;
  }
  std::uint64_t expirations = 0;
  (void)!::read(timer_.value(), &expirations, sizeof expirations);
}

}  // namespace trivet::xen
