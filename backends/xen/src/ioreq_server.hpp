// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <trivet/core/io_handler.hpp>
#include <trivet/core/result.hpp>

#include "context.hpp"
#include "events.hpp"
#include "ioreq.hpp"

namespace trivet::xen {

/// One of a domain's up to 8 ioreq servers: the page of requests, one a vCPU, the ring of those that need no answer,
/// and an event channel for each. Xen owns the pages; the guest cannot reach them.
///
/// Thread rule: `serve*` and `outstanding` on the runner's thread; the rest any. Source: xen/hvm/dm_op.h.
class IoreqServer {
 public:
  /// `limit`: the domain has 8 already. `invalid_argument`: the domain is not PVH or HVM.
  static Result<std::unique_ptr<IoreqServer>> create(const Context& context);
  ~IoreqServer();
  IoreqServer(const IoreqServer&) = delete;
  IoreqServer& operator=(const IoreqServer&) = delete;

  [[nodiscard]] ioservid_t id() const noexcept { return id_; }

  /// False once Xen has taken it away, with the domain.
  [[nodiscard]] bool alive() const noexcept;

  /// Serves what the event channel `port` is for. Errors: a request that no Xen sends (it is answered all the same).
  TRIVET_XEN_HOT Result<void> serve_port(xenevtchn_port_or_error_t port, IoHandler& io, GuestCopy& memory);
  /// Serves whatever waits, on every channel.
  Result<void> serve_all(IoHandler& io, GuestCopy& memory);

  /// Whether a vCPU has an access half done: asked, or answered and not yet taken.
  [[nodiscard]] bool outstanding() const noexcept;
  [[nodiscard]] bool outstanding(unsigned vcpu) const noexcept;

 private:
  explicit IoreqServer(const Context& context) noexcept
      : context_(context), events_fd_(xenevtchn_fd(context.event_channels())) {}
  Result<void> register_server();
  Result<void> map_pages();
  Result<void> bind_channels();
  Result<xenevtchn_port_or_error_t> bind(evtchn_port_t remote) const;

  TRIVET_XEN_HOT Result<void> serve_buffered(IoHandler& io);
  Result<void> empty_ring(IoHandler& io);
  TRIVET_XEN_HOT Result<void> serve_vcpu(unsigned vcpu, IoHandler& io, GuestCopy& memory);

  const Context& context_;
  const int events_fd_;
  bool registered_ = false;
  ioservid_t id_ = 0;
  xenforeignmemory_resource_handle* resource_ = nullptr;
  std::byte* pages_ = nullptr;                    // the ring's page, then the requests'
  std::vector<xenevtchn_port_or_error_t> ports_;  // by vCPU, then the ring's
};

}  // namespace trivet::xen
