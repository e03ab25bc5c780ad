// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "hypervisor.hpp"

#include "abi.hpp"
#include "vm.hpp"

namespace trivet::mshv {

Result<std::unique_ptr<Hypervisor>> MshvHypervisor::open(const System& system) {
  TRIVET_ASSIGN(auto device, open_device(system));
  TRIVET_ASSIGN(auto host, ask_host(device));
  return std::unique_ptr<Hypervisor>(new MshvHypervisor(std::move(device), std::move(host)));
}

Support MshvHypervisor::supports(Cap cap) const noexcept {
  switch (cap) {
    case Cap::port_io:
    case Cap::msi:
    case Cap::doorbells:
    case Cap::read_only_memory:
    case Cap::read_only_code:
    case Cap::host_memory:
    case Cap::file_memory:
    case Cap::dirty_log:
    case Cap::vcpu_state:
    case Cap::cpuid:
    case Cap::free_cpuid:
    case Cap::nmi:
    case Cap::exceptions:
    case Cap::translate:
    case Cap::clock:
    case Cap::msr_exits:
    case Cap::own_vcpu_threads:
      return Support::yes;
    case Cap::irqchip_split:
    case Cap::interrupt_ends:
    case Cap::external_interrupts:
    case Cap::halt_exits:
      return Support::at_creation;
    case Cap::irqchip_full:  // local APICs only: what has lines and their ends is the VMM's
    case Cap::pit:
    case Cap::lines:
    case Cap::resample:
    case Cap::doorbells_pio:      // the driver refuses them
    case Cap::posted_writes:      // there is no batching
    case Cap::dirty_ring:         // bitmaps only
    case Cap::hypervisor_memory:  // the caller's memory is the guest's
    case Cap::fresh_pages:        // the driver pins a region's pages
    case Cap::single_step:        // an intercepted debug exception shows the guest a changed RFLAGS
    case Cap::breakpoints:
    case Cap::software_breakpoints:
    case Cap::hypercall_exits:  // the hypervisor answers its own
    case Cap::attach:
      return Support::no;
  }
  return Support::no;
}

std::uint64_t MshvHypervisor::limit(Limit limit) const noexcept {
  switch (limit) {
    case Limit::vcpus:
      return most_vcpus;
    case Limit::regions:
      return UINT32_MAX;  // a list: the host's memory ends first
    case Limit::physical_address_bits:
      return host_.physical_address_bits;
    case Limit::msi_routes:
      return abi::most_routes;
    case Limit::dirty_ring_entries:
      return 0;
  }
  return 0;
}

Result<std::unique_ptr<Vm>> MshvHypervisor::create(const VmConfig& config) {
  TRIVET_ASSIGN(auto vm, MshvVm::create(device_, host_, config));
  return std::unique_ptr<Vm>(std::move(vm));
}

Result<std::unique_ptr<Vm>> MshvHypervisor::attach(VmId /*id*/, const AttachConfig& /*config*/) {
  return Error::unsupported("attach to a VM", to_string(Cap::attach));
}

}  // namespace trivet::mshv
