// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What an x86 VM needs from KVM before it has memory, and before it has vCPUs.
#include "ioctl.hpp"
#include "layout_x86_64.hpp"
#include "vm.hpp"

namespace trivet::kvm {

Result<void> KvmVm::set_up() {
  const auto& device = context_.device;
  if (rings_) {
    rings_->set_vm(context_.vm());
    const bool ordered = device.extension(KVM_CAP_DIRTY_LOG_RING_ACQ_REL) > 0;
    TRIVET_TRY(enable(context_.vm(), ordered ? KVM_CAP_DIRTY_LOG_RING_ACQ_REL : KVM_CAP_DIRTY_LOG_RING,
                      context_.config.dirty_ring_entries * sizeof(kvm_dirty_gfn), "dirty ring"));
  }
  auto& events = context_.events;
  events.smm = device.extension(KVM_CAP_X86_SMM) > 0;
  if (device.extension(KVM_CAP_EXCEPTION_PAYLOAD) > 0) {
    TRIVET_TRY(enable(context_.vm(), KVM_CAP_EXCEPTION_PAYLOAD, 1, "exception payload"));
    events.payload = true;
  }
  if (device.extension(KVM_CAP_X86_TRIPLE_FAULT_EVENT) > 0) {
    TRIVET_TRY(enable(context_.vm(), KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1, "triple fault event"));
    events.triple_fault = true;
  }
  constexpr unsigned short_ids = 255;  // APIC ids of 8 bits, less the broadcast
  if (context_.has_lapic() && context_.config.max_vcpus > short_ids) {
    if (device.extension(KVM_CAP_X2APIC_API) == 0) return Error::unsupported("create a VM", "more than 255 vCPUs");
    TRIVET_TRY(enable(context_.vm(), KVM_CAP_X2APIC_API,
                      KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK, "x2APIC ids"));
  }
  return {};
}

Result<void> KvmVm::prepare_vcpus() {
  if (prepared_) return {};
  std::uint64_t identity_map = layout::identity_map;
  if (context_.device.extension(KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0) {
    TRIVET_TRY(call(context_.vm(), TRIVET_KVM_REQUEST(KVM_SET_IDENTITY_MAP_ADDR, std::uint64_t), &identity_map));
  }
  TRIVET_TRY(call(context_.vm(), TRIVET_KVM_REQUEST(KVM_SET_TSS_ADDR, void), layout::task_state));
  TRIVET_TRY(irqchip_.ensure());
  prepared_ = true;
  return {};
}

}  // namespace trivet::kvm
