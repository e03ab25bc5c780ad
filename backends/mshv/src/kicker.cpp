// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "kicker.hpp"

#include <trivet/core/kick_signal.hpp>

namespace trivet::mshv {

void RunKicker::nudge() noexcept {
  set_stop(true);
  // Nobody runs: the flags alone do it. A runner that we do not see yet will look at them after it has made itself
  // seen.
  const pid_t thread = thread_.load(std::memory_order_seq_cst);
  if (thread != 0) kick_signal::send(thread);
}

}  // namespace trivet::mshv
