// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

namespace trivet {

/// Makes a runner come back (P4).
///
/// A kick is sticky: one before `run` makes that `run` return `exits::Kicked` at once; several before one return count
/// as one; none is ever lost. Lives as long as its runner. Where the hypervisor schedules vCPUs itself (no
/// Cap::own_vcpu_threads) the runner comes back and the guest keeps running: stop it with `Vm::pause`.
/// Thread rule: any thread, also inside a signal handler; takes no lock, allocates nothing.
class Kicker {
 public:
  virtual void kick() noexcept = 0;

 protected:
  ~Kicker() = default;
};

}  // namespace trivet
