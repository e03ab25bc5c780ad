// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <map>

#include <trivet/core/msr_intercepts.hpp>

#include "context.hpp"

namespace trivet::mshv {

/// MSR exits, one intercept for each MSR. Source: TLFS, HvCallInstallIntercept, HvInterceptTypeX64MsrIndex.
class MsrFilter final : public MsrIntercepts {
 public:
  explicit MsrFilter(const Context& context) noexcept : context_(context) {}
  Result<void> set(std::span<const MsrRange> ranges) override;

 private:
  Result<void> install(std::uint32_t index, std::uint32_t access) const;

  const Context& context_;
  std::map<std::uint32_t, std::uint32_t> installed_;  // access by MSR
};

}  // namespace trivet::mshv
