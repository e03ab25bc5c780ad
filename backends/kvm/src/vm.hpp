// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <trivet/core/vm.hpp>

#include "clock.hpp"
#include "context.hpp"
#include "dirty_ring.hpp"
#include "doorbells.hpp"
#include "irq_router.hpp"
#include "irqchip_x86_64.hpp"
#include "memory.hpp"
#include "msr_intercepts.hpp"
#include "msrs_x86_64.hpp"
#include "posted_writes.hpp"
#include "runner.hpp"
#include "vcpu.hpp"

namespace trivet::kvm {

/// A virtual machine of KVM: KVM_CREATE_VM and what belongs to it.
class KvmVm final : public Vm {
 public:
  /// `cpuid`: what the host supports.
  static Result<std::unique_ptr<KvmVm>> create(const Device& device, const VmConfig& config,
                                               std::vector<CpuidEntry> cpuid);

  Result<MappedRegion> map(const RegionSpec& spec) override { return memory_.map(spec); }
  Result<void> unmap(const GuestRange& range) override { return memory_.unmap(range); }
  Result<Vcpu*> create_vcpu(unsigned index) override;
  [[nodiscard]] std::span<Vcpu* const> vcpus() const noexcept override { return vcpus_; }
  [[nodiscard]] std::span<Runner* const> runners() const noexcept override { return runners_; }
  Result<void> resume() override { return {}; }
  Result<void> pause() override { return {}; }
  [[nodiscard]] StateSupport state_support(StateElement element) const noexcept override;

  [[nodiscard]] IrqRouter* irq_router() noexcept override;
  [[nodiscard]] Irqchip* irqchip() noexcept override;
  [[nodiscard]] Doorbells* doorbells() noexcept override;
  [[nodiscard]] DirtyLog* dirty_log() noexcept override { return &memory_; }
  [[nodiscard]] Clock* clock() noexcept override;
  [[nodiscard]] PostedWrites* posted_writes() noexcept override;
  [[nodiscard]] MsrIntercepts* msr_intercepts() noexcept override;

 private:
  KvmVm(const Device& device, const VmConfig& config, UniqueFd fd, std::vector<CpuidEntry> cpuid);

  Result<void> set_up();
  /// What must be there before the first vCPU.
  Result<void> prepare_vcpus();
  void tell_paused() const noexcept;

  struct Cpu {
    std::unique_ptr<KvmVcpu> vcpu;
    std::unique_ptr<VcpuRunner> runner;
  };

  Context context_;
  std::optional<DirtyRings> rings_;
  Memory memory_;
  KernelIrqchip irqchip_;
  Router router_;
  KernelDoorbells doorbells_;
  KernelClock clock_;
  CoalescedWrites posted_;
  MsrFilter msr_filter_;
  MsrList msrs_;
  std::mutex mutex_;  // of create_vcpu
  bool prepared_ = false;
  std::vector<Cpu> cpus_;     // by index, empty where not made
  std::vector<Vcpu*> vcpus_;  // those made; room for all from the start, so that spans stay good
  std::vector<Runner*> runners_;
};

}  // namespace trivet::kvm
