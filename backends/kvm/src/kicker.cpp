// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "kicker.hpp"

#include <trivet/core/kick_signal.hpp>

namespace trivet::kvm {

void RunKicker::kick() noexcept {
  kicked_.store(true, std::memory_order_seq_cst);
  nudge();
}

void RunKicker::nudge() noexcept {
  set_immediate_exit(true);
  // Nobody runs: the flag alone does it. Sequential consistency makes this safe: a runner that we do not see yet will
  // look at the flag after it has made itself seen.
  const pid_t thread = thread_.load(std::memory_order_seq_cst);
  if (thread != 0) kick_signal::send(thread);
}

}  // namespace trivet::kvm
