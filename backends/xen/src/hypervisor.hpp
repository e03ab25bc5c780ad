// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <vector>

#include <trivet/core/hypervisor.hpp>

#include "domctl.hpp"

namespace trivet::xen {

/// Xen, opened from its control domain. Thread rule: any thread.
class XenHypervisor final : public Hypervisor {
 public:
  /// Errors as open_device.
  static Result<std::unique_ptr<Hypervisor>> open();

  [[nodiscard]] std::string_view name() const noexcept override { return "xen"; }
  [[nodiscard]] Support supports(Cap cap) const noexcept override;
  [[nodiscard]] std::uint64_t limit(Limit limit) const noexcept override;
  Result<std::vector<CpuidEntry>> supported_cpuid() const override { return cpuid_; }
  Result<std::unique_ptr<Vm>> create(const VmConfig& config) override;
  Result<std::unique_ptr<Vm>> attach(VmId id, const AttachConfig& config) override;

 private:
  XenHypervisor(Domctl domctl, std::vector<CpuidEntry> cpuid) noexcept
      : domctl_(std::move(domctl)), cpuid_(std::move(cpuid)) {}

  Domctl domctl_;
  std::vector<CpuidEntry> cpuid_;
};

}  // namespace trivet::xen
