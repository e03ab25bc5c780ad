// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "msrs_x86_64.hpp"
#include "registers_x86_64.hpp"
#include "vcpu.hpp"

namespace trivet::xen {
namespace {

constexpr auto save_operation = "save vCPU state";
constexpr auto restore_operation = "restore vCPU state";
constexpr std::size_t least_xsave = 576;
constexpr std::size_t xsave_header = offsetof(hvm_hw_cpu_xsave, save_area);
constexpr std::size_t task_priority = 0x80;  // in the LAPIC's page
constexpr std::size_t lapic_id = 0x20;
constexpr std::size_t spurious_vector = 0xf0;
constexpr std::uint64_t apic_base_enabled = 1U << 11;
constexpr std::uint64_t apic_base_x2apic = 1U << 10;
constexpr std::uint8_t spare_vector = 0xff;
constexpr std::uint64_t message_address = 0xfee00000;
constexpr std::uint64_t reset_xcr0 = 1;

Error malformed(const char* why) {
  return Error(Errc::malformed, restore_operation, why);
}

bool writes_lapic(const VcpuState& state) {
  return state.lapic || state.system_registers;
}

/// The XSAVE record with `xcr0` on, `ever` having been on, and this area.
std::vector<std::uint8_t> xsave_record(std::uint64_t xcr0, std::uint64_t ever, const std::vector<std::uint8_t>& area) {
  hvm_hw_cpu_xsave head{};
  head.xfeature_mask = ever;
  head.xcr0 = xcr0;
  head.xcr0_accum = ever;
  std::vector<std::uint8_t> bytes(xsave_header + area.size());
  std::memcpy(bytes.data(), &head, xsave_header);
  std::memcpy(bytes.data() + xsave_header, area.data(), area.size());
  return bytes;
}

std::uint64_t features_in_use(const std::vector<std::uint8_t>& area) {
  std::uint64_t features = 0;
  std::memcpy(&features, area.data() + offsetof(decltype(hvm_hw_cpu_xsave::save_area), xsave_hdr), sizeof features);
  return features;
}

}  // namespace

StateSupport state_support(StateElement element) noexcept {
  switch (element) {
    case StateElement::general_registers:
    case StateElement::system_registers:
    case StateElement::extended_control:
    case StateElement::debug_registers:
    case StateElement::events:
      return {true, true, true};
    case StateElement::xsave:
      return {true, true, false};  // as long as the parts that are on make it
    case StateElement::activity:
      return {true, true, false};  // one that halted goes on after its HLT
    case StateElement::lapic:
    case StateElement::msrs:
    case StateElement::tsc:
      return {true, true, false};  // they count by themselves
    case StateElement::cpuid:
      return {true, false, true};  // it names Xen
  }
  return {};
}

Result<Activity> XenVcpu::activity() const {
  TRIVET_ASSIGN(const auto info, context_.domctl->vcpu_info(context_.domain, index_));
  if (!info.online) return Activity::wait_for_sipi;
  return info.blocked ? Activity::halted : Activity::running;
}

Result<VcpuState> XenVcpu::save(StateElements elements) const {
  TRIVET_TRY(check_settled(save_operation));
  TRIVET_ASSIGN(const auto contexts, read_contexts());
  return save_from(contexts.whole, elements);
}

Result<VcpuState> XenVcpu::save_from(const HvmContext& context, StateElements elements) const {
  hvm_hw_cpu cpu{};
  if (!context.get(RecordType::cpu, instance(), cpu)) cpu = down_;
  hvm_hw_lapic lapic{};
  hvm_hw_lapic_regs page{};
  (void)context.get(RecordType::lapic, instance(), lapic);
  (void)context.get(RecordType::lapic_registers, instance(), page);
  const auto* extended = context.find(RecordType::xsave, instance());
  if (extended != nullptr && extended->bytes.size() < sizeof(hvm_hw_cpu_xsave)) {
    return Error::malformed(save_operation, "Xen's XSAVE record is cut off");
  }
  VcpuState state;
  if (elements.contains(StateElement::general_registers)) state.general_registers = general_registers(cpu);
  if (elements.contains(StateElement::system_registers)) {
    state.system_registers = xen::system_registers(cpu);
    state.system_registers->apic_base = lapic.apic_base_msr;
    state.system_registers->cr8 = page.data[task_priority] >> 4;
  }
  if (elements.contains(StateElement::xsave)) {
    if (extended == nullptr) {
      state.xsave = legacy_xsave(cpu);
    } else {
      state.xsave.emplace().area.assign(extended->bytes.begin() + xsave_header, extended->bytes.end());
    }
  }
  if (elements.contains(StateElement::extended_control)) {
    hvm_hw_cpu_xsave head{};
    const bool on = context.get(RecordType::xsave, instance(), head);
    state.extended_control = ExtendedControl{on ? head.xcr0 : reset_xcr0};
  }
  if (elements.contains(StateElement::msrs)) state.msrs = msrs_of(context, instance());
  if (elements.contains(StateElement::lapic)) {
    state.lapic.emplace();
    std::copy(std::begin(page.data), std::end(page.data), state.lapic->page.begin());
  }
  if (elements.contains(StateElement::debug_registers)) state.debug_registers = debug_registers(cpu);
  if (elements.contains(StateElement::tsc)) {
    hvm_save_header header{};
    (void)context.get(RecordType::header, 0, header);
    state.tsc = Tsc{cpu.tsc, header.gtsc_khz};
  }
  if (elements.contains(StateElement::events)) {
    state.events = pending_events(cpu);
    if (injected_) {
      state.events->exception_injected = true;
      state.events->exception_vector = injected_->vector;
      state.events->exception_has_error_code = injected_->has_error_code;
      state.events->exception_error_code = injected_->has_error_code ? injected_->error_code : 0;
    }
  }
  if (elements.contains(StateElement::activity)) {
    TRIVET_ASSIGN(state.activity, activity());
  }
  if (elements.contains(StateElement::cpuid)) {
    TRIVET_ASSIGN(state.cpuid, context_.domctl->cpuid(context_.domain));
  }
  return state;
}

Result<void> XenVcpu::check_state(const VcpuState& state) const {
  if (state.xsave && state.xsave->area.size() < least_xsave) return malformed("xsave is shorter than 576 bytes");
  if (state.extended_control && (state.extended_control->xcr0 & 1) == 0) return malformed("xcr0 without x87");
  if (state.general_registers && (state.general_registers->rflags & 2) == 0) return malformed("rflags without bit 1");
  if (state.events && (state.events->exception_injected || state.events->exception_pending) &&
      state.events->exception_vector > 31) {
    return malformed("an exception beyond vector 31");
  }
  if (state.activity && *state.activity != Activity::running && *state.activity != Activity::halted &&
      *state.activity != Activity::wait_for_sipi) {
    return Error::unsupported(restore_operation, "an activity other than running, halted or waiting for a startup IPI");
  }
  if (state.events && injected_) {
    return Error(Errc::bad_state, restore_operation, "an injected exception waits, and Xen cannot take it back");
  }
  return {};
}

Result<void> XenVcpu::restore(const VcpuState& state) {
  TRIVET_TRY(check_settled(restore_operation));
  TRIVET_TRY(check_state(state));
  if (state.cpuid) {
    // One policy for all vCPUs: what it says already need not be said, and cannot once the domain has run.
    TRIVET_ASSIGN(const auto now, context_.domctl->cpuid(context_.domain));
    if (now != *state.cpuid) TRIVET_TRY(context_.domctl->set_cpuid(context_.domain, *state.cpuid));
  }
  TRIVET_ASSIGN(auto contexts, read_contexts());
  TRIVET_TRY(put_state(contexts, state));
  const bool starts = state.activity == Activity::running;
  if (starts) {
    // Waking it changes its LAPIC: what is written next takes that back.
    TRIVET_ASSIGN(const auto now, activity());
    if (now == Activity::halted) {
      for (const auto type : {RecordType::lapic, RecordType::lapic_registers}) {
        const auto* record = contexts.whole.find(type, instance());
        if (contexts.out.find(type, instance()) == nullptr && record != nullptr) {
          contexts.out.put(type, instance(), record->bytes);
        }
      }
      TRIVET_TRY(wake());
    }
  }
  TRIVET_TRY(write_changed(contexts, state.activity));
  return state.events && state.events->nmi_pending ? inject_nmi() : Result<void>{};
}

Result<void> XenVcpu::put_state(Contexts& contexts, const VcpuState& state) const {
  hvm_hw_cpu cpu{};
  if (!contexts.out.get(RecordType::cpu, instance(), cpu)) cpu = down_;
  if (state.general_registers) put(cpu, *state.general_registers);
  if (state.system_registers) put(cpu, *state.system_registers);
  if (state.debug_registers) put(cpu, *state.debug_registers);
  if (state.events) TRIVET_TRY(put(cpu, *state.events));
  if (state.tsc) {
    cpu.tsc = state.tsc->value;
    hvm_save_header header{};
    if (state.tsc->frequency_khz != 0 && contexts.out.get(RecordType::header, 0, header)) {
      header.gtsc_khz = state.tsc->frequency_khz;
      contexts.out.put(RecordType::header, 0, header);
    }
  }
  if (state.xsave) put_legacy(cpu, *state.xsave);
  contexts.out.put(RecordType::cpu, instance(), cpu);
  if (state.xsave || state.extended_control) {
    hvm_hw_cpu_xsave now{};
    const auto* record = contexts.out.find(RecordType::xsave, instance());
    const bool on = contexts.out.get(RecordType::xsave, instance(), now);
    const auto xcr0 = state.extended_control ? state.extended_control->xcr0 : on ? now.xcr0 : reset_xcr0;
    std::vector<std::uint8_t> area;
    if (state.xsave) {
      area = state.xsave->area;
    } else if (record != nullptr) {
      area.assign(record->bytes.begin() + xsave_header, record->bytes.end());
    } else {
      area = legacy_xsave(cpu).area;
    }
    // Without a guest that turned XSAVE on there is no record, and the CPU's has it all.
    const bool plain = xcr0 == reset_xcr0 && (features_in_use(area) & ~std::uint64_t{3}) == 0;
    if (record != nullptr || !plain) {
      contexts.out.put(RecordType::xsave, instance(), xsave_record(xcr0, xcr0 | (on ? now.xcr0_accum : 0), area));
    }
  }
  if (writes_lapic(state)) TRIVET_TRY(put_lapic(contexts, state));
  return state.msrs ? put_msrs(contexts.out, contexts.whole, instance(), *state.msrs) : Result<void>{};
}

Result<void> XenVcpu::put_lapic(Contexts& contexts, const VcpuState& state) const {
  hvm_hw_lapic lapic{};
  hvm_hw_lapic_regs page{};
  if (!contexts.whole.get(RecordType::lapic, instance(), lapic) ||
      !contexts.whole.get(RecordType::lapic_registers, instance(), page)) {
    return Error::from_hypervisor(0, restore_operation, "Xen gives no LAPIC of this vCPU");
  }
  const auto before = lapic;
  const auto page_before = page;
  if (state.lapic) std::copy(state.lapic->page.begin(), state.lapic->page.end(), std::begin(page.data));
  if (state.system_registers) {
    lapic.apic_base_msr = state.system_registers->apic_base;
    // The page has all 8 bits of the priority; CR8 shows the upper 4.
    if (page.data[task_priority] >> 4 != (state.system_registers->cr8 & 0xf)) {
      page.data[task_priority] = static_cast<std::uint8_t>((state.system_registers->cr8 & 0xf) << 4);
    }
  }
  put_derived(lapic, page);
  // Loading them restarts the timer: only where something changed.
  const bool changed = std::memcmp(&before, &lapic, sizeof lapic) != 0;
  if (changed) contexts.out.put(RecordType::lapic, instance(), lapic);
  if (changed || std::memcmp(&page_before, &page, sizeof page) != 0) {
    contexts.out.put(RecordType::lapic_registers, instance(), page);
  }
  return {};
}

/// Ends the wait of a vCPU that executed HLT: nothing in its state says that it waits, only an interrupt ends it. So
/// its LAPIC is turned on for one, and gets its registers back with the state that is written next.
Result<void> XenVcpu::wake() const {
  TRIVET_ASSIGN(auto contexts, read_contexts());
  hvm_hw_lapic lapic{};
  hvm_hw_lapic_regs page{};
  if (!contexts.whole.get(RecordType::lapic, instance(), lapic) ||
      !contexts.whole.get(RecordType::lapic_registers, instance(), page)) {
    return Error::from_hypervisor(0, restore_operation, "Xen gives no LAPIC of this vCPU");
  }
  lapic.disabled = 0;
  lapic.apic_base_msr |= apic_base_enabled;
  page.data[spurious_vector + 1] |= 1;  // bit 8: on
  contexts.out.put(RecordType::lapic, instance(), lapic);
  contexts.out.put(RecordType::lapic_registers, instance(), page);
  TRIVET_TRY(write(contexts.out));
  const bool x2apic = (lapic.apic_base_msr & apic_base_x2apic) != 0;
  const std::uint64_t id = page.data[x2apic ? lapic_id : lapic_id + 3];
  if (xendevicemodel_inject_msi(context_.device_model(), context_.domain, message_address | id << 12, spare_vector) ==
      0) {
    return {};
  }
  return Error::from_errno(errno, restore_operation, "wake vCPU " + std::to_string(index_));
}

}  // namespace trivet::xen
