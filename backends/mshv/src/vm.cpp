// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "vm.hpp"

#include <string>

#include <trivet/core/capability.hpp>
#include <trivet/core/kick_signal.hpp>

#include "hypervisor.hpp"

namespace trivet::mshv {
namespace {

constexpr auto create_operation = "create a VM";
constexpr auto vcpu_operation = "create a vCPU";

Result<void> check(const VmConfig& config) {
  if (config.max_vcpus == 0) return Error(Errc::invalid_argument, create_operation, "max_vcpus is 0");
  if (config.max_vcpus > most_vcpus) {
    return Error(Errc::limit, create_operation, "MSHV has at most " + std::to_string(most_vcpus) + " vCPUs in a VM",
                 Blame::host);
  }
  if (config.irqchip == IrqchipKind::full) {
    return Error::unsupported(create_operation,
                              "irqchip_full: the hypervisor has local APICs only; choose irqchip split");
  }
  if (config.pit) return Error::unsupported(create_operation, to_string(Cap::pit));
  if (config.dirty_ring_entries != 0) return Error::unsupported(create_operation, to_string(Cap::dirty_ring));
  if (config.halt_exits && config.irqchip != IrqchipKind::none) {
    return Error::unsupported(create_operation, "halt_exits with an interrupt controller in the hypervisor");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<MshvVm>> MshvVm::create(const Handle& device, const HostFacts& host, const VmConfig& config) {
  TRIVET_TRY(check(config));
  TRIVET_TRY(kick_signal::install());
  TRIVET_ASSIGN(auto partition, create_partition(device, config.irqchip != IrqchipKind::none));
  return std::unique_ptr<MshvVm>(new MshvVm(host, std::move(partition), config));
}

MshvVm::MshvVm(const HostFacts& host, Handle partition, const VmConfig& config)
    : context_{host, std::move(partition), config},
      memory_(context_),
      router_(context_),
      doorbells_(context_),
      clock_(context_),
      msr_filter_(context_) {
  cpus_.resize(config.max_vcpus);
  vcpus_.reserve(config.max_vcpus);
  runners_.reserve(config.max_vcpus);
}

Result<Vcpu*> MshvVm::create_vcpu(unsigned index) {
  const std::scoped_lock lock(mutex_);
  if (index >= cpus_.size()) {
    return Error(Errc::out_of_range, vcpu_operation,
                 std::to_string(index) + ": the VM was made for " + std::to_string(cpus_.size()));
  }
  if (cpus_[index].vcpu) return Error(Errc::already_exists, vcpu_operation, std::to_string(index) + " exists");
  TRIVET_ASSIGN(auto vcpu, MshvVcpu::create(context_, memory_, msrs_, index));
  auto runner = std::make_unique<VpRunner>(*vcpu);
  cpus_[index] = {std::move(vcpu), std::move(runner)};
  vcpus_.clear();
  runners_.clear();
  for (const auto& cpu : cpus_) {
    if (!cpu.vcpu) continue;
    vcpus_.push_back(cpu.vcpu.get());
    runners_.push_back(cpu.runner.get());
  }
  return cpus_[index].vcpu.get();
}

StateSupport MshvVm::state_support(StateElement element) const noexcept {
  return mshv::state_support(element, context_);
}

}  // namespace trivet::mshv
