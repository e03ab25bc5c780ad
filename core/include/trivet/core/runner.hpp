// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/exit.hpp>
#include <trivet/core/io_handler.hpp>
#include <trivet/core/kicker.hpp>
#include <trivet/core/result.hpp>

namespace trivet {

class Vcpu;

/// What must be driven for a VM to make progress (P2): a vCPU on KVM and MSHV, an ioreq channel on Xen.
///
/// Owned by its Vm. Thread rule: `run` and `drain` from one thread at a time; a second concurrent call gives
/// `bad_state`.
class Runner {
 public:
  /// Runs until a control exit; serves every access through `io` on this thread and re-enters without returning.
  /// Errors: `bad_state` when it is already being run or an answer is owed (caller), `io`/`hypervisor` (host).
  /// Takes no lock and allocates nothing between exits.
  virtual Result<Exit> run(IoHandler& io) = 0;

  /// Finishes an access that was begun, without running the guest further, so that state can be saved. May call `io`.
  /// Does not consume a pending kick.
  virtual Result<void> drain(IoHandler& io) = 0;

  /// Any thread.
  [[nodiscard]] virtual Kicker& kicker() noexcept = 0;

  /// A descriptor that turns readable when `run` has work, where the guest runs by itself; -1 where `run` is the guest.
  [[nodiscard]] virtual int wait_fd() const noexcept = 0;

  /// The vCPU that this runner runs; null where it serves several.
  [[nodiscard]] virtual Vcpu* vcpu() noexcept = 0;

 protected:
  ~Runner() = default;
};

}  // namespace trivet
