// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>

#include <trivet/core/event.hpp>
#include <trivet/core/runner.hpp>
#include <trivet/core/unique_fd.hpp>

#include "context.hpp"
#include "end_watch.hpp"
#include "events.hpp"
#include "ioreq_server.hpp"
#include "kicker.hpp"
#include "memory.hpp"

namespace trivet::xen {

/// Serves a domain's ioreq server, for all of its vCPUs: Xen runs them, this only answers.
class ServerRunner final : public Runner {
 public:
  static Result<std::unique_ptr<ServerRunner>> create(const Context& context, IoreqServer& server, Memory& memory);

  TRIVET_XEN_HOT Result<Exit> run(IoHandler& io) override;
  Result<void> drain(IoHandler& io) override;
  [[nodiscard]] Kicker& kicker() noexcept override { return kicker_; }
  [[nodiscard]] int wait_fd() const noexcept override { return waiting_.value(); }
  [[nodiscard]] Vcpu* vcpu() noexcept override { return nullptr; }

  /// The guest goes on after an end: that one is told no more.
  void forget_end() noexcept { look_ = true; }

 private:
  ServerRunner(const Context& context, IoreqServer& server, Memory& memory, Event owed) noexcept
      : context_(context),
        server_(server),
        memory_(memory),
        events_fd_(xenevtchn_fd(context.event_channels())),
        kicker_(events_fd_, context.handles.loopback.look),
        owed_(std::move(owed)) {}

  Result<void> watch_end();
  TRIVET_XEN_HOT Result<Exit> loop(IoHandler& io);
  /// Waits for events, up to as many as fit.
  TRIVET_XEN_HOT Result<std::span<const evtchn_port_t>> take_events();
  /// Waits for events and serves them. True where there was another than a kick.
  TRIVET_XEN_HOT Result<bool> serve_some(IoHandler& io);
  /// Serves what an earlier run took the event of and left, for a kick or an error.
  Result<void> catch_up(IoHandler& io);
  /// After a kick: its event is taken, and what came with it stays for the next run.
  Result<void> settle();
  [[nodiscard]] bool tells_of_end(evtchn_port_t port) const noexcept {
    return port == context_.handles.loopback.look || port == context_.handles.domains_ended;
  }
  Result<void> finish_accesses(IoHandler& io);
  Result<void> await_stop() const;
  /// How the guest ended, if it did; the next run will tell it again.
  TRIVET_XEN_COLD Result<std::optional<Exit>> ended();
  /// The same, without a trace.
  Result<std::optional<Exit>> look() const;

  const Context& context_;
  IoreqServer& server_;
  Memory& memory_;
  const int events_fd_;
  RunKicker kicker_;
  Event owed_;        // events were taken and not served
  UniqueFd waiting_;  // an epoll of the two: event channels, owed
  std::array<evtchn_port_t, 64> ports_{};
  EndWatch end_;
  std::atomic<bool> driven_{false};
  std::atomic<bool> look_{true};  // the end may have come
};

}  // namespace trivet::xen
