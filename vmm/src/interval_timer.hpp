// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include <boost/asio/steady_timer.hpp>

#include <trivet/core/interrupt_line.hpp>
#include <trivet/vmm/event_loop.hpp>
#include <trivet/vmm/pic.hpp>
#include <trivet/vmm/pit.hpp>

namespace trivet::vmm {

/// A PIT whose ticks come from the event loop, to the PIC's line 0 and the I/O APIC's pin 2. Where the guest has
/// neither it counts all the same: Linux measures its clock with the PIT before it knows whether there is one, and
/// takes 50,000 accesses to find out that there is none.
///
/// Thread rule: made before the loop starts, destroyed after it stopped.
class IntervalTimer final {
 public:
  /// `loop` and `pic` outlive it. Either both `pic` and `line` are there, or neither.
  IntervalTimer(EventLoop& loop, Pic* pic, std::unique_ptr<InterruptLine> line);

  [[nodiscard]] Pit& pit() noexcept { return pit_; }

 private:
  void tick() noexcept;
  /// From any thread; the newest wins.
  void wake_at(std::uint64_t ns);
  void arm();

  EventLoop& loop_;
  Pic* pic_;
  std::unique_ptr<InterruptLine> line_;
  boost::asio::steady_timer timer_;
  std::atomic<std::uint64_t> wanted_ns_{0};  // 0: none
  std::atomic<bool> posted_{false};
  Pit pit_;
};

}  // namespace trivet::vmm
