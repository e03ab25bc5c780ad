// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "vm.hpp"

#include <cerrno>
#include <string>

#include <trivet/core/capability.hpp>

#include "find_memory.hpp"
#include "owner.hpp"

namespace trivet::xen {
namespace {

constexpr auto create_operation = "create a VM";
constexpr auto attach_operation = "attach to a VM";
constexpr auto vcpu_operation = "create a vCPU";

// For the page tables of the first vCPUs; Memory gives more with each region.
constexpr std::uint64_t pool_per_vcpu = 1U << 20;

Result<void> check(const VmConfig& config) {
  if (config.max_vcpus == 0) return Error(Errc::invalid_argument, create_operation, "max_vcpus is 0");
  if (config.max_vcpus > max_vcpus) {
    return Error(Errc::limit, create_operation,
                 "Xen has at most " + std::to_string(max_vcpus) + " vCPUs in a PVH or HVM domain", Blame::host);
  }
  if (config.irqchip == IrqchipKind::none) {
    return Error::unsupported(create_operation, "IrqchipKind::none: Xen always has the LAPICs (split or full)");
  }
  if (config.pit && config.irqchip != IrqchipKind::full) {
    return Error::unsupported(create_operation, "pit without irqchip_full");
  }
  if (config.halt_exits) return Error::unsupported(create_operation, to_string(Cap::halt_exits));
  if (config.dirty_ring_entries != 0) return Error::unsupported(create_operation, to_string(Cap::dirty_ring));
  return {};
}

}  // namespace

Result<std::unique_ptr<XenVm>> XenVm::create(const Domctl& domctl, const VmConfig& config, unsigned address_bits) {
  TRIVET_TRY(check(config));
  TRIVET_ASSIGN(const auto owner, this_process());
  DomainSpec spec;
  spec.handle = handle_of(owner);
  spec.vcpus = config.max_vcpus;
  spec.full_emulation = config.irqchip == IrqchipKind::full;
  TRIVET_ASSIGN(const auto domain, domctl.create(spec));
  OwnedDomain owned(domctl, domain);
  TRIVET_TRY(domctl.set_paging_pool(domain, pool_per_vcpu * (config.max_vcpus + 1)));
  TRIVET_TRY(domctl.set_up_x86(domain, triple_fault_reason));
  TRIVET_ASSIGN(auto handles, Handles::open(domain));
  std::unique_ptr<XenVm> vm(
      new XenVm(&domctl, domain, std::move(handles), config, config.max_vcpus, address_bits, std::move(owned)));
  TRIVET_TRY(vm->serve());
  return vm;
}

Result<std::unique_ptr<XenVm>> XenVm::attach(DomainId domain, unsigned address_bits) {
  TRIVET_ASSIGN(auto handles, Handles::open(domain, Handles::Of::attached));
  unsigned vcpus = 0;
  if (xendevicemodel_nr_vcpus(handles.device_model.get(), domain, &vcpus) != 0) {
    const auto name = "domain " + std::to_string(domain);
    if (errno == ESRCH) return Error(Errc::not_found, attach_operation, name + " does not exist");
    if (errno == EPERM || errno == EACCES) {
      return Error(Errc::permission, attach_operation, name + " is not ours to serve", Blame::host);
    }
    if (errno == EINVAL) return Error(Errc::invalid_argument, attach_operation, name + " is neither PVH nor HVM");
    return Error::from_errno(errno, attach_operation, name);
  }
  VmConfig config;
  config.max_vcpus = vcpus;
  std::unique_ptr<XenVm> vm(new XenVm(nullptr, domain, std::move(handles), config, vcpus, address_bits, OwnedDomain()));
  TRIVET_TRY(vm->serve());
  vm->context_.phase = Phase::running;
  return vm;
}

XenVm::XenVm(const Domctl* domctl, DomainId domain, Handles handles, const VmConfig& config, unsigned vcpus,
             unsigned address_bits, OwnedDomain owned)
    : owned_(std::move(owned)),
      context_{domctl, domain, std::move(handles), config, vcpus},
      memory_(context_, address_bits),
      router_(context_),
      irqchip_(context_) {
  cpus_.resize(vcpus);
  vcpus_.reserve(vcpus);
}

XenVm::~XenVm() = default;

Result<void> XenVm::serve() {
  TRIVET_ASSIGN(server_, IoreqServer::create(context_));
  memory_.set_server(*server_);
  claims_ = std::make_unique<ServerClaims>(context_, *server_);
  TRIVET_ASSIGN(runner_, ServerRunner::create(context_, *server_, memory_));
  runners_.push_back(runner_.get());
  return {};
}

Result<std::vector<GuestRange>> XenVm::populated(const GuestRange& within) const {
  if (!context_.attached()) return Vm::populated(within);
  return find_memory(context_, within);
}

Result<Vcpu*> XenVm::create_vcpu(unsigned index) {
  const std::scoped_lock lock(mutex_);
  if (context_.attached()) return Error::unsupported(vcpu_operation, "the domain's toolstack made them");
  if (index >= cpus_.size()) {
    return Error(Errc::out_of_range, vcpu_operation,
                 std::to_string(index) + ": the VM was made for " + std::to_string(cpus_.size()));
  }
  if (cpus_[index]) return Error(Errc::already_exists, vcpu_operation, std::to_string(index) + " exists");
  auto vcpu = std::make_unique<XenVcpu>(context_, *server_, memory_, index);
  TRIVET_TRY(vcpu->set_up());
  cpus_[index] = std::move(vcpu);
  vcpus_.clear();
  for (const auto& cpu : cpus_) {
    if (cpu) vcpus_.push_back(cpu.get());
  }
  return cpus_[index].get();
}

/// After a shutdown: whoever lets it go on has given its vCPUs another state, or wants them to go on after it.
Result<void> XenVm::revive() const {
  TRIVET_ASSIGN(const auto info, context_.domctl->info(context_.domain));
  if (!info || !info->shut_down) return {};
  return context_.domctl->soft_reset(context_.domain);
}

Result<void> XenVm::resume() {
  const std::scoped_lock lock(mutex_);
  const auto phase = context_.phase.load();
  if (context_.attached() || phase == Phase::running) return {};
  if (phase == Phase::ended) {
    // It was never paused by us.
    TRIVET_TRY(context_.domctl->pause(context_.domain));
    TRIVET_TRY(revive());
  }
  for (const auto& cpu : cpus_) {
    if (cpu) cpu->forget_injected();
  }
  runner_->forget_end();
  context_.phase = Phase::running;
  auto going = context_.domctl->unpause(context_.domain);
  if (!going) context_.phase = Phase::paused;
  return going;
}

Result<void> XenVm::pause() {
  const std::scoped_lock lock(mutex_);
  if (context_.attached()) {
    return Error::unsupported("pause a VM", "a domain that a toolstack made: xl pause does it");
  }
  if (context_.phase != Phase::running) return {};
  TRIVET_TRY(context_.domctl->pause(context_.domain));
  context_.phase = Phase::paused;
  return {};
}

StateSupport XenVm::state_support(StateElement element) const noexcept {
  return context_.attached() ? StateSupport{} : xen::state_support(element);
}

}  // namespace trivet::xen
