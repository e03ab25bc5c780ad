// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <memory>
#include <optional>

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
  ServerRunner(const Context& context, IoreqServer& server, Memory& memory, Event kick, EndWatch end) noexcept
      : context_(context), server_(server), memory_(memory), kicker_(std::move(kick)), end_(std::move(end)) {}

  TRIVET_XEN_HOT Result<Exit> loop(IoHandler& io);
  /// Waits for events and serves them. True where there was another than a kick.
  TRIVET_XEN_HOT Result<bool> serve_some(IoHandler& io, int timeout_ms);
  TRIVET_XEN_HOT Result<void> serve_events(IoHandler& io);
  /// Serves what waits without having been told of it.
  Result<void> catch_up(IoHandler& io);
  Result<void> finish_accesses(IoHandler& io);
  Result<void> await_stop() const;
  /// How the guest ended, if it did; the next run will tell it again.
  TRIVET_XEN_COLD Result<std::optional<Exit>> ended();
  /// The same, without a trace.
  Result<std::optional<Exit>> look() const;

  const Context& context_;
  IoreqServer& server_;
  Memory& memory_;
  RunKicker kicker_;
  EndWatch end_;
  UniqueFd waiting_;  // an epoll of the three: event channels, kick, end
  std::atomic<bool> driven_{false};
  std::atomic<bool> look_{true};  // the end may have come
};

}  // namespace trivet::xen
