// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "interval_timer.hpp"

#include <chrono>
#include <utility>

#include "log.hpp"

namespace trivet::vmm {
namespace {

using std::chrono::steady_clock;

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

}  // namespace

IntervalTimer::IntervalTimer(EventLoop& loop, Pic* pic, std::unique_ptr<InterruptLine> line)
    : loop_(loop),
      pic_(pic),
      line_(std::move(line)),
      timer_(loop.executor()),
      pit_({now_ns, [this] { tick(); }, [this](std::optional<std::uint64_t> at) { wake_at(at.value_or(0)); }}) {}

void IntervalTimer::tick() noexcept {
  if (pic_ == nullptr) return;
  pic_->set_line(0, false);
  pic_->set_line(0, true);
  if (const auto done = line_->signal(); !done) log::warning(to_string(done.error()));
}

void IntervalTimer::wake_at(std::uint64_t ns) {
  if (pic_ == nullptr) return;
  wanted_ns_.store(ns);
  // One in the queue at a time: a guest that writes the PIT without end must not fill it.
  if (!posted_.exchange(true)) loop_.post([this] { arm(); });
}

void IntervalTimer::arm() {
  posted_.store(false);
  const auto wanted = wanted_ns_.load();
  if (wanted == 0) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(steady_clock::time_point(std::chrono::nanoseconds(wanted)));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) pit_.wake();
  });
}

}  // namespace trivet::vmm
