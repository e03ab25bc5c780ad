// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "runner.hpp"

#include <cerrno>
#include <chrono>
#include <span>
#include <string>
#include <sys/epoll.h>
#include <thread>

namespace trivet::xen {
namespace {

constexpr auto run_operation = "serve a domain";
constexpr auto drain_operation = "drain a domain";
constexpr std::chrono::seconds stop_patience{10};

/// Holds the runner for one thread.
class Turn {
 public:
  explicit Turn(std::atomic<bool>& driven) noexcept : driven_(driven), ok_(!driven.exchange(true)) {}
  ~Turn() {
    if (ok_) driven_.store(false);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  [[nodiscard]] bool ok() const noexcept { return ok_; }

 private:
  std::atomic<bool>& driven_;
  bool ok_;
};

std::string of_domain(const Context& context) {
  return "domain " + std::to_string(context.domain);
}

TRIVET_XEN_COLD Error busy(const char* operation, const Context& context) {
  return Error(Errc::bad_state, operation, of_domain(context) + " is being served already");
}

TRIVET_XEN_COLD Error failed(const Context& context, const char* what) {
  return Error::from_errno(errno, run_operation, of_domain(context) + ": " + what);
}

Result<void> watch(int set, int fd) {
  epoll_event event{};
  // By level: an event that comes while others are being taken wakes nobody, so that an edge would not tell of it.
  // Source: Linux drivers/xen/evtchn.c, evtchn_interrupt, evtchn_read.
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0) return {};
  return Error::from_errno(errno, run_operation, "wait for its events");
}

std::optional<Exit> exit_of(unsigned reason) {
  switch (reason) {
    case SHUTDOWN_poweroff:
      return Exit{exits::PowerOff{}};
    case SHUTDOWN_crash:
      return Exit{exits::Crash{}};
    case triple_fault_reason:
      return Exit{exits::TripleFault{}};
    case SHUTDOWN_suspend:
      return std::nullopt;  // a toolstack's business, or our own draining
    default:
      return Exit{exits::Reset{}};  // reboot, soft reset
  }
}

}  // namespace

Result<std::unique_ptr<ServerRunner>> ServerRunner::create(const Context& context, IoreqServer& server,
                                                           Memory& memory) {
  TRIVET_ASSIGN(auto owed, Event::create());
  std::unique_ptr<ServerRunner> runner(new ServerRunner(context, server, memory, std::move(owed)));
  runner->waiting_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!runner->waiting_.valid()) return Error::from_errno(errno, run_operation, "wait for its events");
  TRIVET_TRY(watch(runner->waiting_.value(), runner->events_fd_));
  TRIVET_TRY(watch(runner->waiting_.value(), runner->owed_.fd()));
  return runner;
}

/// Not before it is driven: a thread has what its maker had, and a device model gives that up in between.
Result<void> ServerRunner::watch_end() {
  if (context_.handles.domains_ended) return {};
  return end_.start(events_fd_, context_.handles.loopback.kick);
}

Result<Exit> ServerRunner::run(IoHandler& io) {
  const Turn turn(driven_);
  if (!turn.ok()) return busy(run_operation, context_);
  TRIVET_TRY(watch_end());
  if (!kicker_.pending() && events::waiting(events_fd_)) TRIVET_TRY(serve_some(io));
  if (!kicker_.pending()) TRIVET_TRY(catch_up(io));
  return loop(io);
}

Result<Exit> ServerRunner::loop(IoHandler& io) {
  while (true) {
    if (kicker_.take()) {
      TRIVET_TRY(settle());
      return Exit{exits::Kicked{}};
    }
    if (look_.load(std::memory_order_relaxed)) [[unlikely]] {
      TRIVET_ASSIGN(const auto exit, ended());
      if (exit) return *exit;
    }
    TRIVET_TRY(serve_some(io));
  }
}

Result<std::optional<Exit>> ServerRunner::ended() {
  look_ = false;
  TRIVET_ASSIGN(const auto exit, look());
  if (exit) {
    look_ = true;  // the next run tells it again, until the guest goes on
    auto phase = Phase::running;
    context_.phase.compare_exchange_strong(phase, Phase::ended);
  }
  return exit;
}

Result<std::optional<Exit>> ServerRunner::look() const {
  if (context_.attached()) {
    // The server goes with the domain; why, only the toolstack knows.
    return server_.alive() ? std::optional<Exit>{} : std::optional<Exit>{exits::PowerOff{}};
  }
  TRIVET_ASSIGN(const auto info, context_.domctl->info(context_.domain));
  if (!info || info->dying) {
    return Error(Errc::not_found, run_operation, of_domain(context_) + " was destroyed by somebody else", Blame::host);
  }
  return info->shut_down ? exit_of(info->shutdown_reason) : std::optional<Exit>{};
}

Result<std::span<const evtchn_port_t>> ServerRunner::take_events() {
  const int count = events::take(events_fd_, ports_);
  if (count < 0) {
    if (errno == EINTR) return std::span<const evtchn_port_t>();
    return failed(context_, "take events");
  }
  const auto taken = std::span<const evtchn_port_t>(ports_).first(static_cast<std::size_t>(count));
  // Unmasked before looking: what comes afterwards raises it again.
  if (!events::unmask(events_fd_, taken)) return failed(context_, "unmask events");
  return taken;
}

Result<bool> ServerRunner::serve_some(IoHandler& io) {
  TRIVET_ASSIGN(const auto taken, take_events());
  bool some = false;
  for (const auto port : taken) {
    if (port == context_.handles.loopback.kick) continue;
    some = true;
    if (tells_of_end(port)) {
      look_ = true;
    } else {
      TRIVET_TRY(server_.serve_port(static_cast<xenevtchn_port_or_error_t>(port), io, memory_));
    }
  }
  return some;
}

Result<void> ServerRunner::settle() {
  if (!events::waiting(events_fd_)) return {};
  TRIVET_ASSIGN(const auto taken, take_events());
  for (const auto port : taken) {
    if (tells_of_end(port)) look_ = true;
    if (port != context_.handles.loopback.kick) owed_.signal();
  }
  return {};
}

Result<void> ServerRunner::catch_up(IoHandler& io) {
  (void)owed_.take();
  return server_.serve_all(io, memory_);
}

Result<void> ServerRunner::drain(IoHandler& io) {
  const Turn turn(driven_);
  if (!turn.ok()) return busy(drain_operation, context_);
  TRIVET_TRY(watch_end());
  for (bool more = true; more && events::waiting(events_fd_);) {
    TRIVET_ASSIGN(more, serve_some(io));
  }
  TRIVET_TRY(catch_up(io));
  if (context_.attached() || context_.phase == Phase::running || !server_.outstanding()) return {};
  return finish_accesses(io);
}

/// An answered access has its effect on the registers when its vCPU runs next, and then the guest would run on. A
/// domain that is shutting down stops each vCPU exactly there: it lets the access under way end, and nothing after it.
Result<void> ServerRunner::finish_accesses(IoHandler& io) {
  const auto& domctl = *context_.domctl;
  TRIVET_ASSIGN(const auto info, domctl.info(context_.domain));
  if (!info || info->shut_down) return {};
  TRIVET_TRY(domctl.shut_down(context_.domain, SHUTDOWN_suspend));
  TRIVET_TRY(server_.serve_all(io, memory_));
  TRIVET_TRY(domctl.unpause(context_.domain));
  const auto stopped = await_stop();
  TRIVET_TRY(domctl.pause(context_.domain));
  TRIVET_TRY(stopped);
  return domctl.undo_shut_down(context_.domain);
}

Result<void> ServerRunner::await_stop() const {
  const auto late = std::chrono::steady_clock::now() + stop_patience;
  while (std::chrono::steady_clock::now() < late) {
    TRIVET_ASSIGN(const auto info, context_.domctl->info(context_.domain));
    if (!info) return Error(Errc::not_found, drain_operation, of_domain(context_) + " is gone", Blame::host);
    if (info->shut_down) return {};
    std::this_thread::yield();
  }
  return Error(Errc::timed_out, drain_operation, of_domain(context_) + " did not end its accesses in 10 s",
               Blame::host);
}

}  // namespace trivet::xen
