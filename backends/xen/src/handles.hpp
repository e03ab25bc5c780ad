// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <optional>

#include <trivet/core/result.hpp>

#include "abi.hpp"

namespace trivet::xen {

/// A domain's number.
using DomainId = std::uint16_t;

namespace detail {
struct Close {
  void operator()(xendevicemodel_handle* handle) const noexcept { xendevicemodel_close(handle); }
  void operator()(xenforeignmemory_handle* handle) const noexcept { xenforeignmemory_close(handle); }
  void operator()(xenevtchn_handle* handle) const noexcept { xenevtchn_close(handle); }
};
}  // namespace detail

using DeviceModel = std::unique_ptr<xendevicemodel_handle, detail::Close>;
using ForeignMemory = std::unique_ptr<xenforeignmemory_handle, detail::Close>;
using EventChannels = std::unique_ptr<xenevtchn_handle, detail::Close>;

/// The two ends of an event channel from this host's domain to itself: to notify one raises the other.
struct Loopback {
  evtchn_port_t kick = 0;  ///< raised where a runner is wanted back
  evtchn_port_t look = 0;  ///< raised where its domain may have ended
};

/// The handles that serving a domain takes, good for that domain only: what this process is tricked into later can
/// harm no other. Source: xendevicemodel.h, xenforeignmemory.h, xenevtchn.h, the functions named restrict.
struct Handles {
  DeviceModel device_model;
  ForeignMemory foreign_memory;
  EventChannels event_channels;
  Loopback loopback;                           ///< of `event_channels`
  std::optional<evtchn_port_t> domains_ended;  ///< VIRQ_DOM_EXC, where nobody else on the host has it

  /// `not_found`, `permission`: the host's devices; `unsupported`: a kernel before 4.14, which cannot restrict.
  /// `attached`: what `restrict_process` can restrict only if it is not yet, is left to it, and the interrupt, which is
  /// about every domain, to others.
  enum class Of : bool { ours, attached };
  static Result<Handles> open(DomainId domain, Of of = Of::ours);
};

/// Restricts every handle of Xen's libraries in this process, also those that stand behind others: libxendevicemodel
/// keeps one for hypercalls that its own restriction leaves as it is. Source: xentoolcore.h, xentoolcore_restrict_all.
Result<void> restrict_process(DomainId domain);

}  // namespace trivet::xen
