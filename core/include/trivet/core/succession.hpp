// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>

#include <trivet/core/result.hpp>

namespace trivet {

/// A VM that someone else made, in its hypervisor's numbering (Xen: the domain id).
enum class VmId : std::uint64_t {};

/// Keeps up with a VM whose toolstack makes a new one at each reboot: made for one that lives, it finds the one that
/// takes its place, before that runs. Errors are the host's. Thread rule: one thread at a time; the hypervisor
/// outlives it.
class Succession {
 public:
  virtual ~Succession() = default;

  /// Whether the VM ended so that its toolstack may make another: it rebooted or crashed, rather than powered off or
  /// was destroyed. Answers once it has ended, and lets go of what is left of it.
  virtual Result<bool> expected() = 0;

  /// The VM that took its place: complete, and held before its first instruction. Nothing: not yet, ask again soon.
  /// `bad_state`: it runs already. One that was found and is not let go stays held.
  virtual Result<std::optional<VmId>> find() = 0;

  /// Lets the one that was found run, as far as it is up to us, and follows that from now on. `bad_state`: none was
  /// found (caller).
  virtual Result<void> let_go() = 0;
};

}  // namespace trivet
