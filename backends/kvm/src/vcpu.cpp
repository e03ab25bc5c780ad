// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "vcpu.hpp"

#include <string>

#include "cpuid_x86_64.hpp"
#include "ioctl.hpp"

namespace trivet::kvm {
Result<std::unique_ptr<KvmVcpu>> KvmVcpu::create(const Context& context, const Memory& memory, MsrList& msrs,
                                                 unsigned index) {
  TRIVET_ASSIGN(const int raw,
                call(context.vm(), TRIVET_KVM_REQUEST(KVM_CREATE_VCPU, void), index, std::to_string(index)));
  UniqueFd fd(raw);
  TRIVET_ASSIGN(auto mapping, Mapping::create(fd.value(), 0, context.device.run_size(), "the vCPU's shared page"));
  std::unique_ptr<KvmVcpu> vcpu(new KvmVcpu(context, memory, msrs, index, std::move(fd), std::move(mapping)));
  const auto own = cpuid_of_vcpu(context.cpuid, index, context.config.max_vcpus, context.config.irqchip);
  TRIVET_TRY(write_cpuid(vcpu->fd(), own));
  return vcpu;
}

KvmVcpu::KvmVcpu(const Context& context, const Memory& memory, MsrList& msrs, unsigned index, UniqueFd fd,
                 Mapping mapping)
    : context_(context),
      memory_(memory),
      msrs_(msrs),
      index_(index),
      fd_(std::move(fd)),
      mapping_(std::move(mapping)),
      kicker_(&run().immediate_exit) {
  const auto page = static_cast<std::size_t>(context.device.extension(KVM_CAP_COALESCED_MMIO));
  if (page != 0 && (page + 1) * page_size <= mapping_.size()) {
    // SAFETY: the kernel lays out the ring at that page of the mapping.
    coalesced_ring_ = reinterpret_cast<kvm_coalesced_mmio_ring*>(mapping_.data() + page * page_size);
  }
}

Error KvmVcpu::running(const char* operation) const {
  return Error(Errc::bad_state, operation, "vCPU " + std::to_string(index_) + " is running; stop it first");
}

Result<void> KvmVcpu::flush_nmi() const {
  if (!nmi_asked_.load(std::memory_order_relaxed) || !nmi_asked_.exchange(false)) return {};
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_NMI, void)));
  return {};
}

Result<GeneralRegisters> KvmVcpu::registers() const {
  const StateCall state(*this);
  if (!state.ok()) return running("read registers");
  kvm_regs regs{};
  TRIVET_TRY(call(fd(), TRIVET_KVM_REQUEST(KVM_GET_REGS, kvm_regs), &regs));
  return from_kernel(regs);
}

Result<void> KvmVcpu::set_registers(const GeneralRegisters& registers) {
  const StateCall state(*this);
  if (!state.ok()) return running("write registers");
  auto regs = to_kernel(registers);
  return perform(fd(), TRIVET_KVM_REQUEST(KVM_SET_REGS, kvm_regs), &regs);
}

Result<SystemRegisters> KvmVcpu::system_registers() const {
  const StateCall state(*this);
  if (!state.ok()) return running("read system registers");
  return read_system_registers();
}

Result<void> KvmVcpu::set_system_registers(const SystemRegisters& registers) {
  const StateCall state(*this);
  if (!state.ok()) return running("write system registers");
  return write_system_registers(registers);
}

Result<void> KvmVcpu::inject_nmi() {
  // KVM_NMI waits for the vCPU's lock, which a running guest holds: there the runner does it, pulled out of the guest.
  nmi_asked_.store(true);
  const StateCall state(*this);
  if (state.ok()) return flush_nmi();
  kicker_.nudge();
  return {};
}

}  // namespace trivet::kvm
