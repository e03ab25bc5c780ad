// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The path of every access, straight to /dev/xen/evtchn: libxenevtchn takes one event a call.
#pragma once

#include <cerrno>
#include <cstddef>
#include <poll.h>
#include <span>
#include <sys/ioctl.h>
#include <unistd.h>
#include <xen/evtchn.h>

#include "abi.hpp"

/// What every access goes through is kept together, and what only an error takes away from it: after the guest ran each
/// page of code costs a TLB miss.
#define TRIVET_XEN_HOT [[gnu::hot]]
#define TRIVET_XEN_COLD [[gnu::cold, gnu::noinline]]

namespace trivet::xen::events {

/// Whether `take` would come back at once.
inline bool waiting(int fd) noexcept {
  pollfd ready{fd, POLLIN, 0};
  return ::poll(&ready, 1, 0) == 1;
}

/// Waits for an event, takes up to `to.size()` of them, which are masked then. How many; -1 with errno.
inline int take(int fd, std::span<evtchn_port_t> to) noexcept {
  const auto size = ::read(fd, to.data(), to.size_bytes());
  return size < 0 ? -1 : static_cast<int>(static_cast<std::size_t>(size) / sizeof(evtchn_port_t));
}

/// False with errno.
inline bool unmask(int fd, std::span<const evtchn_port_t> ports) noexcept {
  return ::write(fd, ports.data(), ports.size_bytes()) == static_cast<ssize_t>(ports.size_bytes());
}

inline bool notify(int fd, evtchn_port_t port) noexcept {
  ioctl_evtchn_notify request{port};
  return ::ioctl(fd, IOCTL_EVTCHN_NOTIFY, &request) == 0;
}

}  // namespace trivet::xen::events
