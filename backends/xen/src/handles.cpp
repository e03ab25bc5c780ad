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

}  // namespace

Result<EventChannels> open_event_channels() {
  return opened<EventChannels>(xenevtchn_open, "/dev/xen/evtchn");
}

Result<Handles> Handles::open(DomainId domain, Channels channels) {
  Handles handles;
  TRIVET_ASSIGN(handles.device_model, opened<DeviceModel>(xendevicemodel_open, "/dev/xen/privcmd"));
  TRIVET_ASSIGN(handles.foreign_memory, opened<ForeignMemory>(xenforeignmemory_open, "/dev/xen/privcmd"));
  TRIVET_ASSIGN(handles.event_channels, open_event_channels());
  TRIVET_TRY(restricted(xendevicemodel_restrict(handles.device_model.get(), domain), "device model calls", domain));
  TRIVET_TRY(restricted(xenforeignmemory_restrict(handles.foreign_memory.get(), domain), "memory mapping", domain));
  // The kernel takes it once, and an error for the second time would end restrict_process half done.
  if (channels == Channels::later) return handles;
  TRIVET_TRY(restricted(xenevtchn_restrict(handles.event_channels.get(), domain), "event channels", domain));
  return handles;
}

Result<void> restrict_process(DomainId domain) {
  return restricted(xentoolcore_restrict_all(domain), "all handles", domain);
}

}  // namespace trivet::xen
