// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "end_watch.hpp"

#include <chrono>

#include <trivet/core/quiet_thread.hpp>

#include "events.hpp"

namespace trivet::xen {
namespace {

constexpr std::chrono::milliseconds period{50};

}  // namespace

Result<void> EndWatch::start(int events_fd, evtchn_port_t channel) {
  if (thread_.joinable()) return {};
  TRIVET_ASSIGN(thread_, quiet_thread("trivet-xen-end", [this, events_fd, channel] { tell(events_fd, channel); }));
  return {};
}

void EndWatch::tell(int events_fd, evtchn_port_t channel) {
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_for(lock, period, [this] { return stop_; })) (void)events::notify(events_fd, channel);
}

EndWatch::~EndWatch() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_one();
  thread_.join();
}

}  // namespace trivet::xen
