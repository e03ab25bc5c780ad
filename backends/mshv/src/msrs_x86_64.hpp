// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include <trivet/core/registers_x86_64.hpp>
#include <trivet/core/result.hpp>

#include "handle.hpp"

namespace trivet::mshv {

inline constexpr std::uint32_t msr_tsc_deadline = 0x6e0;

/// The hypervisor's name of an MSR's register; nothing for one that it does not show.
[[nodiscard]] std::optional<std::uint32_t> register_of_msr(std::uint32_t index);

/// The MSRs that make up a vCPU's state here, without the TSC (StateElement::tsc has it) and without those that this
/// hypervisor does not let us read. Thread rule: any thread.
class MsrList {
 public:
  Result<std::vector<MsrValue>> read(const Handle& vp, std::uint32_t index);

  /// In order. `unsupported` names the MSR that has no register here, or that the hypervisor refuses; a 0 for such a
  /// one is skipped.
  static Result<void> write(const Handle& vp, std::uint32_t index, std::span<const MsrValue> values);

 private:
  void load(const Handle& vp, std::uint32_t index);

  std::mutex mutex_;
  bool loaded_ = false;
  std::vector<std::uint32_t> msrs_, names_;  // side by side
};

}  // namespace trivet::mshv
