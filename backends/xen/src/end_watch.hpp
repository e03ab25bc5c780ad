// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>

#include "handles.hpp"

namespace trivet::xen {

/// A descriptor that turns readable when a domain may have shut down or gone: a reason to look, no more.
///
/// For a domain of ours: the interrupt VIRQ_DOM_EXC, which only one program on the host can have; where another has it
/// (xenstored, as a rule), a timer. For one that a toolstack made, a timer: a connection to xenstored would be one to
/// all of it. Thread rule: one thread.
class EndWatch {
 public:
  enum class Of : bool { ours, attached };
  static Result<EndWatch> create(Of of);

  [[nodiscard]] int fd() const noexcept;
  /// Takes what made it readable.
  void take() noexcept;

 private:
  EndWatch() = default;
  bool bind_interrupt();
  Result<void> start_timer();

  EventChannels interrupt_;
  UniqueFd timer_;
};

}  // namespace trivet::xen
