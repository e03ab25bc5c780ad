// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <sys/types.h>

#include <trivet/core/kicker.hpp>

namespace trivet::kvm {

/// The race-free kick (P4). `immediate_exit` is the byte of kvm_run that makes KVM_RUN return EINTR before it enters
/// the guest.
///
/// A kick: the sticky flag, then immediate_exit, then the signal to the thread that runs, if there is one. The runner:
/// clears immediate_exit, then takes the flag, then enters. Either the runner sees the flag, or the kick came after the
/// clearing, so that immediate_exit stays set and the signal finds a thread that cannot stay in the guest. Source:
/// Linux Documentation/virt/kvm/api.rst, kvm_run.immediate_exit.
class RunKicker final : public Kicker {
 public:
  explicit RunKicker(std::uint8_t* immediate_exit) noexcept : immediate_exit_(immediate_exit) {}

  void kick() noexcept override;

  /// Pulls the runner out of the guest for something other than a kick: it looks for work and goes on.
  void nudge() noexcept;

  // For the runner's thread.
  void begin(pid_t thread) noexcept { thread_.store(thread, std::memory_order_seq_cst); }
  void end() noexcept { thread_.store(0, std::memory_order_seq_cst); }
  void set_immediate_exit(bool on) noexcept {
    std::atomic_ref(*immediate_exit_).store(on ? 1 : 0, std::memory_order_seq_cst);
  }
  /// True once for the kicks so far.
  [[nodiscard]] bool take() noexcept { return kicked_.exchange(false, std::memory_order_seq_cst); }
  /// Puts back a kick that was taken but not reported.
  void put_back() noexcept { kicked_.store(true, std::memory_order_seq_cst); }

 private:
  std::uint8_t* immediate_exit_;
  std::atomic<bool> kicked_{false};
  std::atomic<pid_t> thread_{0};
};

}  // namespace trivet::kvm
