// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <memory>
#include <optional>
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
  Result<std::unique_ptr<Succession>> follow(VmId id) override;
  Result<void> drop_privileges() override;

 private:
  XenHypervisor(Domctl domctl, std::vector<CpuidEntry> cpuid) noexcept
      : domctl_(std::move(domctl)), cpuid_(std::move(cpuid)) {}

  Result<const Domctl*> control(const char* operation) const;

  std::optional<Domctl> domctl_;    // until privileges are dropped
  std::atomic<bool> lent_ = false;  // to a VM or a succession, for good
  std::atomic<DomainId> attached_ = 0;
  std::vector<CpuidEntry> cpuid_;
};

}  // namespace trivet::xen
