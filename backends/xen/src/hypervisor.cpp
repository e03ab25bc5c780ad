// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "hypervisor.hpp"

#include <limits>
#include <string>

#include "cpuid_x86_64.hpp"
#include "device.hpp"
#include "domain_succession.hpp"
#include "owner.hpp"
#include "vm.hpp"

namespace trivet::xen {
namespace {

constexpr auto create_operation = "create a VM";
constexpr auto attach_operation = "attach to a VM";
constexpr auto follow_operation = "follow a VM";
constexpr auto drop_operation = "drop privileges";

Result<DomainId> domain_of(VmId id, const char* operation) {
  const auto number = static_cast<std::uint64_t>(id);
  if (number != 0 && number < DOMID_FIRST_RESERVED) return static_cast<DomainId>(number);
  return Error(
      Errc::invalid_argument, operation,
      "domain " + std::to_string(number) + ": a guest's number is 1 to " + std::to_string(DOMID_FIRST_RESERVED - 1));
}

Result<void> check_not_ours(const Domctl& domctl, DomainId domain) {
  TRIVET_ASSIGN(const auto info, domctl.info(domain));
  const auto owner = info ? owner_of(info->handle) : std::nullopt;
  if (!owner) return {};
  return Error(Errc::invalid_argument, attach_operation,
               "domain " + std::to_string(domain) + " was made by Trivet's process " + std::to_string(owner->process) +
                   ", which serves it: give that the devices, or choose a domain of xl's");
}

}  // namespace

Result<std::unique_ptr<Hypervisor>> XenHypervisor::open() {
  TRIVET_ASSIGN(auto domctl, open_device());
  TRIVET_ASSIGN(auto cpuid, domctl.default_cpuid());
  return std::unique_ptr<Hypervisor>(new XenHypervisor(std::move(domctl), std::move(cpuid)));
}

Support XenHypervisor::supports(Cap cap) const noexcept {
  switch (cap) {
    case Cap::port_io:
    case Cap::lines:
    case Cap::msi:
    case Cap::read_only_memory:
    case Cap::hypervisor_memory:
    case Cap::dirty_log:
    case Cap::vcpu_state:
    case Cap::cpuid:
    case Cap::nmi:
    case Cap::exceptions:
    case Cap::translate:
    case Cap::attach:
      return Support::yes;
    case Cap::irqchip_full:
    case Cap::irqchip_split:
    case Cap::pit:
      return Support::at_creation;
    case Cap::read_only_code:  // the one page type whose writes trap is never executable
    case Cap::free_cpuid:      // a policy within the host's, and the hypervisor's leaves are Xen's own
    case Cap::resample:        // the end of an interrupt stays in Xen
    case Cap::interrupt_ends:
    case Cap::external_interrupts:  // a PVH domain has no LINT0 that is ours
    case Cap::doorbells:            // an ioreq always comes to the server's loop
    case Cap::doorbells_pio:
    case Cap::posted_writes:  // Xen decides which writes it buffers
    case Cap::host_memory:    // the guest's memory is Xen's
    case Cap::file_memory:
    case Cap::fresh_pages:
    case Cap::dirty_ring:
    case Cap::single_step:  // Xen tells debug events to monitors only
    case Cap::breakpoints:
    case Cap::software_breakpoints:
    case Cap::clock:  // the guest's clock is Xen's own
    case Cap::msr_exits:
    case Cap::hypercall_exits:
    case Cap::halt_exits:
    case Cap::own_vcpu_threads:  // Xen schedules the vCPUs
      return Support::no;
  }
  return Support::no;
}

std::uint64_t XenHypervisor::limit(Limit limit) const noexcept {
  switch (limit) {
    case Limit::vcpus:
      return max_vcpus;
    case Limit::regions:  // neither has a table
    case Limit::msi_routes:
      return std::numeric_limits<std::uint32_t>::max();
    case Limit::physical_address_bits:
      return physical_address_bits(cpuid_);
    case Limit::dirty_ring_entries:
      return 0;
  }
  return 0;
}

Result<const Domctl*> XenHypervisor::control(const char* operation) const {
  if (domctl_) return &*domctl_;
  return Error(Errc::permission, operation, "this process has given up Xen's control interface");
}

Result<std::unique_ptr<Vm>> XenHypervisor::create(const VmConfig& config) {
  TRIVET_ASSIGN(const auto* domctl, control(create_operation));
  TRIVET_ASSIGN(auto vm, XenVm::create(*domctl, config, physical_address_bits(cpuid_)));
  lent_ = true;
  return std::unique_ptr<Vm>(std::move(vm));
}

Result<std::unique_ptr<Vm>> XenHypervisor::attach(VmId id, const AttachConfig& config) {
  TRIVET_ASSIGN(const auto domain, domain_of(id, attach_operation));
  TRIVET_ASSIGN(const auto* domctl, control(attach_operation));
  if (config.not_ours) TRIVET_TRY(check_not_ours(*domctl, domain));
  if (config.vcpu_state) {
    return Error(Errc::permission, attach_operation,
                 "vCPU state of domain " + std::to_string(domain) +
                     ": its handles are those of a device model, which Xen shows none",
                 Blame::host);
  }
  TRIVET_ASSIGN(auto vm, XenVm::attach(domain, physical_address_bits(cpuid_)));
  attached_ = domain;
  return std::unique_ptr<Vm>(std::move(vm));
}

Result<std::unique_ptr<Succession>> XenHypervisor::follow(VmId id) {
  TRIVET_ASSIGN(const auto domain, domain_of(id, follow_operation));
  TRIVET_ASSIGN(const auto* domctl, control(follow_operation));
  TRIVET_ASSIGN(auto succession, DomainSuccession::create(*domctl, domain));
  lent_ = true;
  return std::unique_ptr<Succession>(std::move(succession));
}

Result<void> XenHypervisor::drop_privileges() {
  if (lent_) return Error(Errc::bad_state, drop_operation, "a VM that was made or followed here takes them");
  domctl_.reset();
  const DomainId domain = attached_;
  return domain == 0 ? Result<void>{} : restrict_process(domain);
}

}  // namespace trivet::xen
