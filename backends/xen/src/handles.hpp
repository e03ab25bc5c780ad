// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>

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

/// The handles that serving a domain takes, good for that domain only: what this process is tricked into later can
/// harm no other. Source: xendevicemodel.h, xenforeignmemory.h, xenevtchn.h, the functions named restrict.
struct Handles {
  DeviceModel device_model;
  ForeignMemory foreign_memory;
  EventChannels event_channels;

  /// `not_found`, `permission`: the host's devices; `unsupported`: a kernel before 4.14, which cannot restrict.
  /// `later`: what `restrict_process` can restrict only if it is not yet, is left to it.
  enum class Channels : bool { restricted, later };
  static Result<Handles> open(DomainId domain, Channels channels = Channels::restricted);
};

/// Restricts every handle of Xen's libraries in this process, also those that stand behind others: libxendevicemodel
/// keeps one for hypercalls that its own restriction leaves as it is. Source: xentoolcore.h, xentoolcore_restrict_all.
Result<void> restrict_process(DomainId domain);

/// An event channel handle for this domain's own interrupts (VIRQs), which a restricted one cannot bind.
Result<EventChannels> open_event_channels();

}  // namespace trivet::xen
