// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <span>

#include <trivet/core/result.hpp>

namespace trivet {

/// `count` MSRs from `first`.
struct MsrRange {
  std::uint32_t first = 0;
  std::uint32_t count = 1;
  bool reads = true;
  bool writes = true;
};

/// x86 MSRs whose accesses exit as `exits::Msr`; a facet of Vm. Thread rule: any thread while all vCPUs are stopped.
class MsrIntercepts {
 public:
  /// Replaces the whole set. `limit`: more ranges than the hypervisor takes.
  virtual Result<void> set(std::span<const MsrRange> ranges) = 0;

 protected:
  ~MsrIntercepts() = default;
};

}  // namespace trivet
