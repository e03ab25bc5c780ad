// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include <trivet/core/vm.hpp>

#include "clock.hpp"
#include "context.hpp"
#include "doorbells.hpp"
#include "irq_router.hpp"
#include "irqchip_x86_64.hpp"
#include "memory.hpp"
#include "msr_intercepts.hpp"
#include "msrs_x86_64.hpp"
#include "runner.hpp"
#include "vcpu.hpp"

namespace trivet::mshv {

/// A partition and what belongs to it.
class MshvVm final : public Vm {
 public:
  static Result<std::unique_ptr<MshvVm>> create(const Handle& device, const HostFacts& host, const VmConfig& config);

  Result<MappedRegion> map(const RegionSpec& spec) override { return memory_.map(spec); }
  Result<void> unmap(const GuestRange& range) override { return memory_.unmap(range); }
  Result<Vcpu*> create_vcpu(unsigned index) override;
  [[nodiscard]] std::span<Vcpu* const> vcpus() const noexcept override { return vcpus_; }
  [[nodiscard]] std::span<Runner* const> runners() const noexcept override { return runners_; }
  Result<void> resume() override { return {}; }
  Result<void> pause() override { return {}; }
  [[nodiscard]] StateSupport state_support(StateElement element) const noexcept override;

  [[nodiscard]] IrqRouter* irq_router() noexcept override { return context_.has_lapic() ? &router_ : nullptr; }
  [[nodiscard]] Irqchip* irqchip() noexcept override { return context_.has_lapic() ? &irqchip_ : nullptr; }
  [[nodiscard]] Doorbells* doorbells() noexcept override { return &doorbells_; }
  [[nodiscard]] DirtyLog* dirty_log() noexcept override { return &memory_; }
  [[nodiscard]] Clock* clock() noexcept override { return &clock_; }
  [[nodiscard]] PostedWrites* posted_writes() noexcept override { return nullptr; }
  [[nodiscard]] MsrIntercepts* msr_intercepts() noexcept override { return &msr_filter_; }

 private:
  MshvVm(const HostFacts& host, Handle partition, const VmConfig& config);

  struct Cpu {
    std::unique_ptr<MshvVcpu> vcpu;
    std::unique_ptr<VpRunner> runner;
  };

  Context context_;
  Memory memory_;
  LocalApics irqchip_;
  Router router_;
  KernelDoorbells doorbells_;
  ReferenceClock clock_;
  MsrFilter msr_filter_;
  MsrList msrs_;
  std::mutex mutex_;          // of create_vcpu
  std::vector<Cpu> cpus_;     // by index, empty where not made
  std::vector<Vcpu*> vcpus_;  // those made; room for all from the start, so that spans stay good
  std::vector<Runner*> runners_;
};

}  // namespace trivet::mshv
