// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "vm.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include <trivet/core/capability.hpp>
#include <trivet/core/kick_signal.hpp>

#include "cpuid_x86_64.hpp"
#include "ioctl.hpp"

namespace trivet::kvm {
namespace {

constexpr auto create_operation = "create a VM";
constexpr auto vcpu_operation = "create a vCPU";

Result<void> check_irqchip(const Device& device, const VmConfig& config) {
  if (config.irqchip == IrqchipKind::full && device.extension(KVM_CAP_IRQCHIP) == 0) {
    return Error::unsupported(create_operation, to_string(Cap::irqchip_full));
  }
  if (config.irqchip == IrqchipKind::split && device.extension(KVM_CAP_SPLIT_IRQCHIP) == 0) {
    return Error::unsupported(create_operation, to_string(Cap::irqchip_split));
  }
  if (config.pit && config.irqchip != IrqchipKind::full) {
    return Error::unsupported(create_operation, "pit without irqchip_full");
  }
  if (config.pit && (device.extension(KVM_CAP_PIT2) == 0 || device.extension(KVM_CAP_PIT_STATE2) == 0)) {
    return Error::unsupported(create_operation, to_string(Cap::pit));
  }
  if (config.halt_exits && config.irqchip != IrqchipKind::none) {
    return Error::unsupported(create_operation, "halt_exits with an interrupt controller in the hypervisor");
  }
  return {};
}

Result<void> check_dirty_ring(const Device& device, const VmConfig& config) {
  if (config.dirty_ring_entries == 0) return {};
  const auto bytes =
      std::max(device.extension(KVM_CAP_DIRTY_LOG_RING), device.extension(KVM_CAP_DIRTY_LOG_RING_ACQ_REL));
  if (bytes == 0) return Error::unsupported(create_operation, to_string(Cap::dirty_ring));
  const auto most = static_cast<std::uint32_t>(bytes) / static_cast<std::uint32_t>(sizeof(kvm_dirty_gfn));
  // The kernel keeps entries back for what the hardware has buffered; a page of entries is the least it takes.
  constexpr auto least = static_cast<std::uint32_t>(page_size / sizeof(kvm_dirty_gfn));
  if (!std::has_single_bit(config.dirty_ring_entries) || config.dirty_ring_entries < least ||
      config.dirty_ring_entries > most) {
    return Error(
        Errc::invalid_argument, create_operation,
        "dirty_ring_entries must be a power of two from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return {};
}

Result<void> check(const Device& device, const VmConfig& config) {
  const auto most = static_cast<unsigned>(std::max(device.extension(KVM_CAP_MAX_VCPUS), 1));
  if (config.max_vcpus == 0) return Error(Errc::invalid_argument, create_operation, "max_vcpus is 0");
  if (config.max_vcpus > most) {
    return Error(Errc::limit, create_operation, "KVM has at most " + std::to_string(most) + " vCPUs in a VM",
                 Blame::host);
  }
  TRIVET_TRY(check_irqchip(device, config));
  return check_dirty_ring(device, config);
}

}  // namespace

Result<std::unique_ptr<KvmVm>> KvmVm::create(const Device& device, const VmConfig& config,
                                             std::vector<CpuidEntry> cpuid) {
  TRIVET_TRY(check(device, config));
  TRIVET_TRY(kick_signal::install());
  TRIVET_ASSIGN(const int fd, call(device.fd(), TRIVET_KVM_REQUEST(KVM_CREATE_VM, void)));
  std::unique_ptr<KvmVm> vm(new KvmVm(device, config, UniqueFd(fd), std::move(cpuid)));
  TRIVET_TRY(vm->set_up());
  return vm;
}

KvmVm::KvmVm(const Device& device, const VmConfig& config, UniqueFd fd, std::vector<CpuidEntry> cpuid)
    : context_{device, std::move(fd), config, std::move(cpuid), {}},
      rings_(config.dirty_ring_entries == 0 ? std::nullopt : std::make_optional<DirtyRings>(config.dirty_ring_entries)),
      memory_(context_, rings_ ? &*rings_ : nullptr),
      irqchip_(context_),
      router_(context_, irqchip_),
      doorbells_(context_),
      clock_(context_, [this] { tell_paused(); }),
      posted_(context_),
      msr_filter_(context_),
      msrs_(device) {
  memory_.set_address_bits(physical_address_bits(context_.cpuid));
  cpus_.resize(config.max_vcpus);
  vcpus_.reserve(config.max_vcpus);
  runners_.reserve(config.max_vcpus);
}

Result<Vcpu*> KvmVm::create_vcpu(unsigned index) {
  const std::scoped_lock lock(mutex_);
  if (index >= cpus_.size()) {
    return Error(Errc::out_of_range, vcpu_operation,
                 std::to_string(index) + ": the VM was made for " + std::to_string(cpus_.size()));
  }
  if (cpus_[index].vcpu) return Error(Errc::already_exists, vcpu_operation, std::to_string(index) + " exists");
  TRIVET_TRY(prepare_vcpus());
  TRIVET_ASSIGN(auto vcpu, KvmVcpu::create(context_, memory_, msrs_, index));
  if (rings_) TRIVET_TRY(rings_->add_vcpu(vcpu->fd()));
  auto runner = std::make_unique<VcpuRunner>(*vcpu, posted_, rings_ ? &*rings_ : nullptr);
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

StateSupport KvmVm::state_support(StateElement element) const noexcept {
  return kvm::state_support(element, context_);
}

void KvmVm::tell_paused() const noexcept {
  for (const auto& cpu : cpus_) {
    // EINVAL where the guest does not use kvmclock.
    if (cpu.vcpu) (void)::ioctl(cpu.vcpu->fd(), KVM_KVMCLOCK_CTRL, 0UL);
  }
}

IrqRouter* KvmVm::irq_router() noexcept {
  return context_.has_lapic() ? &router_ : nullptr;
}

Irqchip* KvmVm::irqchip() noexcept {
  return context_.has_lapic() ? &irqchip_ : nullptr;
}

Doorbells* KvmVm::doorbells() noexcept {
  return context_.device.extension(KVM_CAP_IOEVENTFD) > 0 ? &doorbells_ : nullptr;
}

Clock* KvmVm::clock() noexcept {
  return context_.device.extension(KVM_CAP_ADJUST_CLOCK) > 0 ? &clock_ : nullptr;
}

PostedWrites* KvmVm::posted_writes() noexcept {
  return context_.device.extension(KVM_CAP_COALESCED_MMIO) > 0 ? &posted_ : nullptr;
}

MsrIntercepts* KvmVm::msr_intercepts() noexcept {
  const bool there = context_.device.extension(KVM_CAP_X86_USER_SPACE_MSR) > 0 &&
                     context_.device.extension(KVM_CAP_X86_MSR_FILTER) > 0;
  return there ? &msr_filter_ : nullptr;
}

}  // namespace trivet::kvm
