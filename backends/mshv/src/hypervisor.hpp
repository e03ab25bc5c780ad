// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <vector>

#include <trivet/core/hypervisor.hpp>

#include "device.hpp"

namespace trivet::mshv {

/// APIC ids in messages have 8 bits, less the broadcast.
inline constexpr unsigned most_vcpus = 255;

/// MSHV, opened. Thread rule: any thread.
class MshvHypervisor final : public Hypervisor {
 public:
  /// Errors as open_device, and the host's for the partition that is made to ask.
  static Result<std::unique_ptr<Hypervisor>> open(const System& system);

  [[nodiscard]] std::string_view name() const noexcept override { return "mshv"; }
  [[nodiscard]] Support supports(Cap cap) const noexcept override;
  [[nodiscard]] std::uint64_t limit(Limit limit) const noexcept override;
  Result<std::vector<CpuidEntry>> supported_cpuid() const override { return host_.cpuid; }
  Result<std::unique_ptr<Vm>> create(const VmConfig& config) override;
  Result<std::unique_ptr<Vm>> attach(VmId id, const AttachConfig& config) override;

 private:
  MshvHypervisor(Handle device, HostFacts host) noexcept : device_(std::move(device)), host_(std::move(host)) {}

  Handle device_;
  HostFacts host_;
};

}  // namespace trivet::mshv
