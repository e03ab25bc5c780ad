// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "handles.hpp"

#include <cerrno>
#include <string>

#include "log.hpp"

namespace trivet::xen {
namespace {

constexpr auto open_operation = "open Xen's device model interface";

template <class Handle, class Open>
Result<Handle> opened(Open open, const char* device) {
  Handle handle(open(quiet_log(), 0));
  if (handle) return handle;
  return Error::from_errno(errno, open_operation, device);
}

Result<void> restricted(int result, const char* what, DomainId domain) {
  if (result == 0) return {};
  const std::string detail = std::string("restrict ") + what + " to domain " + std::to_string(domain);
  if (errno == ENOTTY || errno == EOPNOTSUPP) {
    return Error(Errc::unsupported, open_operation, detail + ": the kernel is too old (Linux 4.14 can)", Blame::host);
  }
  return Error::from_errno(errno, open_operation, detail);
}

Result<Loopback> bind_loopback(xenevtchn_handle* channels) {
  Loopback loopback;
  const auto one = xenevtchn_bind_unbound_port(channels, DOMID_SELF);
  if (one < 0) return Error::from_errno(errno, open_operation, "an event channel to ourselves");
  const auto other = xenevtchn_bind_interdomain(channels, DOMID_SELF, static_cast<evtchn_port_t>(one));
  if (other < 0) return Error::from_errno(errno, open_operation, "an event channel to ourselves");
  loopback.kick = static_cast<evtchn_port_t>(one);
  loopback.look = static_cast<evtchn_port_t>(other);
  return loopback;
}

}  // namespace

Result<Handles> Handles::open(DomainId domain, Of of) {
  Handles handles;
  TRIVET_ASSIGN(handles.device_model, opened<DeviceModel>(xendevicemodel_open, "/dev/xen/privcmd"));
  TRIVET_ASSIGN(handles.foreign_memory, opened<ForeignMemory>(xenforeignmemory_open, "/dev/xen/privcmd"));
  TRIVET_ASSIGN(handles.event_channels, opened<EventChannels>(xenevtchn_open, "/dev/xen/evtchn"));
  auto* const channels = handles.event_channels.get();
  // What a restricted handle cannot bind.
  TRIVET_ASSIGN(handles.loopback, bind_loopback(channels));
  if (of == Of::ours) {
    const auto ended = xenevtchn_bind_virq(channels, VIRQ_DOM_EXC);
    if (ended >= 0) handles.domains_ended = static_cast<evtchn_port_t>(ended);
  }
  TRIVET_TRY(restricted(xendevicemodel_restrict(handles.device_model.get(), domain), "device model calls", domain));
  TRIVET_TRY(restricted(xenforeignmemory_restrict(handles.foreign_memory.get(), domain), "memory mapping", domain));
  // The kernel takes it once, and an error for the second time would end restrict_process half done.
  if (of == Of::attached) return handles;
  TRIVET_TRY(restricted(xenevtchn_restrict(channels, domain), "event channels", domain));
  return handles;
}

Result<void> restrict_process(DomainId domain) {
  return restricted(xentoolcore_restrict_all(domain), "all handles", domain);
}

}  // namespace trivet::xen
