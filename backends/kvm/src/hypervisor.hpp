// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <trivet/core/hypervisor.hpp>

#include "device.hpp"

namespace trivet::kvm {

/// KVM, opened. Thread rule: any thread.
class KvmHypervisor final : public Hypervisor {
 public:
  /// Errors as Device::open.
  static Result<std::unique_ptr<Hypervisor>> open(const std::string& path);

  [[nodiscard]] std::string_view name() const noexcept override { return "kvm"; }
  [[nodiscard]] Support supports(Cap cap) const noexcept override;
  [[nodiscard]] std::uint64_t limit(Limit limit) const noexcept override;
  Result<std::vector<CpuidEntry>> supported_cpuid() const override { return cpuid_; }
  Result<std::unique_ptr<Vm>> create(const VmConfig& config) override;
  Result<std::unique_ptr<Vm>> attach(VmId id, const AttachConfig& config) override;

 private:
  KvmHypervisor(Device device, std::vector<CpuidEntry> cpuid) noexcept
      : device_(std::move(device)), cpuid_(std::move(cpuid)) {}
  [[nodiscard]] Support when(int capability, Support support = Support::yes) const noexcept;

  Device device_;
  std::vector<CpuidEntry> cpuid_;
};

}  // namespace trivet::kvm
