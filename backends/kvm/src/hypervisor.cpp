// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "hypervisor.hpp"

#include <algorithm>

#include "abi.hpp"
#include "cpuid_x86_64.hpp"
#include "guest_memfd.hpp"
#include "vm.hpp"

namespace trivet::kvm {

Result<std::unique_ptr<Hypervisor>> KvmHypervisor::open(const std::string& path) {
  TRIVET_ASSIGN(auto device, Device::open(path));
  TRIVET_ASSIGN(auto cpuid, kvm::supported_cpuid(device));
  return std::unique_ptr<Hypervisor>(new KvmHypervisor(std::move(device), std::move(cpuid)));
}

Support KvmHypervisor::when(int capability, Support support) const noexcept {
  return device_.extension(capability) > 0 ? support : Support::no;
}

Support KvmHypervisor::supports(Cap cap) const noexcept {
  switch (cap) {
    case Cap::port_io:
    case Cap::host_memory:
    case Cap::file_memory:
    case Cap::fresh_pages:
    case Cap::dirty_log:
    case Cap::vcpu_state:
    case Cap::cpuid:
    case Cap::free_cpuid:
    case Cap::exceptions:
    case Cap::translate:
    case Cap::own_vcpu_threads:
      return Support::yes;
    case Cap::irqchip_full:
      return when(KVM_CAP_IRQCHIP, Support::at_creation);
    case Cap::irqchip_split:
      return when(KVM_CAP_SPLIT_IRQCHIP, Support::at_creation);
    case Cap::pit:
      return std::min(when(KVM_CAP_PIT2, Support::at_creation), when(KVM_CAP_PIT_STATE2, Support::at_creation));
    case Cap::lines:
      return when(KVM_CAP_IRQCHIP);
    case Cap::resample:
      return when(KVM_CAP_IRQFD_RESAMPLE);
    case Cap::msi:
      return std::min(when(KVM_CAP_SIGNAL_MSI), when(KVM_CAP_IRQ_ROUTING));
    case Cap::interrupt_ends:
    case Cap::external_interrupts:
      return when(KVM_CAP_SPLIT_IRQCHIP, Support::at_creation);
    case Cap::doorbells:
    case Cap::doorbells_pio:
      return when(KVM_CAP_IOEVENTFD);
    case Cap::posted_writes:
      return when(KVM_CAP_COALESCED_MMIO);
    case Cap::read_only_memory:
    case Cap::read_only_code:
      return when(KVM_CAP_READONLY_MEM);
    case Cap::dirty_ring:
      return std::max(when(KVM_CAP_DIRTY_LOG_RING_ACQ_REL, Support::at_creation),
                      when(KVM_CAP_DIRTY_LOG_RING, Support::at_creation));
    case Cap::single_step:
      return when(KVM_CAP_SET_GUEST_DEBUG);
    case Cap::breakpoints:
      return device_.quirks().watchpoints ? Support::yes : Support::no;
    case Cap::software_breakpoints:
      return device_.quirks().software_breakpoints ? Support::yes : Support::no;
    case Cap::nmi:
      return when(KVM_CAP_USER_NMI);
    case Cap::clock:
      return when(KVM_CAP_ADJUST_CLOCK);
    case Cap::msr_exits:
      return std::min(when(KVM_CAP_X86_USER_SPACE_MSR), when(KVM_CAP_X86_MSR_FILTER));
    case Cap::halt_exits:
      return Support::at_creation;
    case Cap::hypervisor_memory:
      return maps_guest_memfd(device_) ? Support::yes : Support::no;
    case Cap::hypercall_exits:  // KVM answers them itself, all but one that only confidential guests make
    case Cap::attach:
      return Support::no;
  }
  return Support::no;
}

std::uint64_t KvmHypervisor::limit(Limit limit) const noexcept {
  const auto number = [this](int capability) { return static_cast<std::uint64_t>(device_.extension(capability)); };
  switch (limit) {
    case Limit::vcpus:
      return std::max<std::uint64_t>(number(KVM_CAP_MAX_VCPUS), 1);
    case Limit::regions:
      return std::max<std::uint64_t>(number(KVM_CAP_NR_MEMSLOTS), 32);
    case Limit::physical_address_bits:
      return physical_address_bits(cpuid_);
    case Limit::msi_routes:
      return number(KVM_CAP_IRQ_ROUTING);
    case Limit::dirty_ring_entries:
      return std::max(number(KVM_CAP_DIRTY_LOG_RING), number(KVM_CAP_DIRTY_LOG_RING_ACQ_REL)) / sizeof(kvm_dirty_gfn);
  }
  return 0;
}

Result<std::unique_ptr<Vm>> KvmHypervisor::create(const VmConfig& config) {
  TRIVET_ASSIGN(auto vm, KvmVm::create(device_, config, cpuid_));
  return std::unique_ptr<Vm>(std::move(vm));
}

Result<std::unique_ptr<Vm>> KvmHypervisor::attach(VmId /*id*/, const AttachConfig& /*config*/) {
  return Error::unsupported("attach to a VM", to_string(Cap::attach));
}

}  // namespace trivet::kvm
