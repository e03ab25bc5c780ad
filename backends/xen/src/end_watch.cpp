// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "end_watch.hpp"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

extern "C" {
#include <xenstore.h>
}

namespace trivet::xen {
namespace {

constexpr std::chrono::milliseconds period{50};

// xs_open would go on to the kernel's device, which blocks while there is no xenstored: only where its socket is.
constexpr const char* store_sockets[] = {"/run/xenstored/socket", "/var/run/xenstored/socket"};

bool store_runs() {
  for (const auto* socket : store_sockets) {
    if (::access(socket, F_OK) == 0) return true;
  }
  return false;
}

}  // namespace

void EndWatch::CloseStore::operator()(xs_handle* store) const noexcept {
  xs_close(store);
}

bool EndWatch::bind_interrupt() {
  auto channels = open_event_channels();
  if (!channels || xenevtchn_bind_virq(channels->get(), VIRQ_DOM_EXC) < 0) return false;
  interrupt_ = std::move(*channels);
  return true;
}

bool EndWatch::watch_store(DomainId domain) {
  if (!store_runs()) return false;
  Store store(xs_open(XS_OPEN_SOCKETONLY));
  // It tells of the domains that were introduced to it, and of no other.
  if (!store || !xs_is_domain_introduced(store.get(), domain) || !xs_watch(store.get(), "@releaseDomain", "end"))
    return false;
  store_ = std::move(store);
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

Result<EndWatch> EndWatch::create(Of of, DomainId domain) {
  EndWatch watch;
  const bool told = of == Of::ours ? watch.bind_interrupt() : watch.watch_store(domain);
  if (!told) TRIVET_TRY(watch.start_timer());
  return watch;
}

int EndWatch::fd() const noexcept {
  if (interrupt_) return xenevtchn_fd(interrupt_.get());
  return store_ ? xs_fileno(store_.get()) : timer_.value();
}

void EndWatch::take() noexcept {
  if (interrupt_) {
    pollfd ready{fd(), POLLIN, 0};
    if (::poll(&ready, 1, 0) != 1) return;  // xenevtchn_pending would block
    const auto port = xenevtchn_pending(interrupt_.get());
    if (port >= 0) (void)xenevtchn_unmask(interrupt_.get(), static_cast<evtchn_port_t>(port));
    return;
  }
  if (store_) {
    while (char** event = xs_check_watch(store_.get())) std::free(event);
    return;
  }
  std::uint64_t expirations = 0;
  (void)!::read(timer_.value(), &expirations, sizeof expirations);
}

}  // namespace trivet::xen
