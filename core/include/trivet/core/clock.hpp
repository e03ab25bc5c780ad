// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/core/result.hpp>

namespace trivet {

/// The guest's view of time, for saving and restoring it.
struct ClockState {
  std::uint64_t guest_ns = 0;     ///< the guest's monotonic clock
  std::uint64_t realtime_ns = 0;  ///< host wall clock at the same moment; 0: not known

  friend bool operator==(const ClockState&, const ClockState&) = default;
};

enum class ClockRestore : std::uint8_t {
  frozen,    ///< the guest goes on where it stopped
  catch_up,  ///< the time that passed meanwhile is added, from `realtime_ns`
};

/// The paravirtual clock; a facet of Vm. Thread rule: any thread while all vCPUs are stopped.
class Clock {
 public:
  virtual Result<ClockState> save() const = 0;
  virtual Result<void> restore(const ClockState& state, ClockRestore mode) = 0;

 protected:
  ~Clock() = default;
};

}  // namespace trivet
