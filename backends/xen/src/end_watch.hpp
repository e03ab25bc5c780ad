// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include <trivet/core/result.hpp>

#include "handles.hpp"

namespace trivet::xen {

/// Tells a runner every 50 ms to look whether its domain has ended, from a thread of its own, since the runner waits in
/// a read that no timer ends. For where Xen does not tell it: only one program on the host can have VIRQ_DOM_EXC, as a
/// rule xenstored, and a connection to that for a domain of a toolstack's would be one to all of it.
/// Thread rule: one thread.
class EndWatch {
 public:
  EndWatch() = default;
  ~EndWatch();
  EndWatch(const EndWatch&) = delete;
  EndWatch& operator=(const EndWatch&) = delete;

  /// Notifies `channel` through `events_fd`, which outlives this, from now on. Nothing where it does already.
  Result<void> start(int events_fd, evtchn_port_t channel);

 private:
  void tell(int events_fd, evtchn_port_t channel);

  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace trivet::xen
