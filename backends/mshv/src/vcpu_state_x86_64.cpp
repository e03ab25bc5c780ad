// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The state elements of a vCPU, and the order in which they are written (see README.md, "State").
#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "cpuid_x86_64.hpp"
#include "hypercall.hpp"
#include "registers_x86_64.hpp"
#include "vcpu.hpp"
#include "xsave_x86_64.hpp"

namespace trivet::mshv {
namespace {

namespace reg = abi::reg;

constexpr auto save_operation = "save vCPU state";
constexpr auto restore_operation = "restore vCPU state";
constexpr std::size_t least_xsave = 576;  // legacy region and header
constexpr std::uint64_t most_xsave = 1U << 20;

Error malformed(const char* why) {
  return Error(Errc::malformed, restore_operation, why);
}

/// A buffer of whole pages, page aligned.
class PageBuffer {
 public:
  explicit PageBuffer(std::size_t bytes)
      : storage_(bytes + 2 * abi::page_size), size_((bytes + abi::page_size - 1) / abi::page_size * abi::page_size) {}
  [[nodiscard]] std::span<std::uint8_t> bytes() noexcept {
    // SAFETY: only the number of the address is looked at.
    const auto past = reinterpret_cast<std::uintptr_t>(storage_.data()) % abi::page_size;
    return std::span(storage_).subspan(past == 0 ? 0 : abi::page_size - past, size_);
  }

 private:
  std::vector<std::uint8_t> storage_;
  std::size_t size_;
};

/// Where the hypervisor's fields lie in the APIC's page, but for id and task priority. Source: Intel SDM volume 3,
/// table 11-1.
struct LapicField {
  std::size_t field;
  std::size_t at;
};
constexpr std::array lapic_fields{
    LapicField{offsetof(abi::LapicState, version), 0x30},
    LapicField{offsetof(abi::LapicState, ldr), 0xd0},
    LapicField{offsetof(abi::LapicState, dfr), 0xe0},
    LapicField{offsetof(abi::LapicState, spurious), 0xf0},
    LapicField{offsetof(abi::LapicState, esr), 0x280},
    LapicField{offsetof(abi::LapicState, lvt_cmci), 0x2f0},
    LapicField{offsetof(abi::LapicState, icr_low), 0x300},
    LapicField{offsetof(abi::LapicState, icr_high), 0x310},
    LapicField{offsetof(abi::LapicState, lvt_timer), 0x320},
    LapicField{offsetof(abi::LapicState, lvt_thermal), 0x330},
    LapicField{offsetof(abi::LapicState, lvt_perfmon), 0x340},
    LapicField{offsetof(abi::LapicState, lvt_lint0), 0x350},
    LapicField{offsetof(abi::LapicState, lvt_lint1), 0x360},
    LapicField{offsetof(abi::LapicState, lvt_error), 0x370},
    LapicField{offsetof(abi::LapicState, initial_count), 0x380},
    LapicField{offsetof(abi::LapicState, counter_value), 0x390},
    LapicField{offsetof(abi::LapicState, divide_configuration), 0x3e0},
};
constexpr std::size_t lapic_id_at = 0x20, lapic_priority_at = 0x80;

template <class Visit>
void for_each_lapic_field(Visit&& visit) {
  for (const auto& field : lapic_fields) visit(field.field, field.at);
  for (std::size_t i = 0; i < 8; ++i) {
    visit(offsetof(abi::LapicState, isr) + 4 * i, 0x100 + 16 * i);
    visit(offsetof(abi::LapicState, tmr) + 4 * i, 0x180 + 16 * i);
    visit(offsetof(abi::LapicState, irr) + 4 * i, 0x200 + 16 * i);
  }
}

}  // namespace

StateSupport state_support(StateElement element, const Context& context) noexcept {
  const bool has_lapic = context.has_lapic();
  switch (element) {
    case StateElement::general_registers:
    case StateElement::system_registers:
    case StateElement::xsave:
    case StateElement::extended_control:
    case StateElement::activity:
    case StateElement::events:
    case StateElement::debug_registers:
      return {true, true, true};
    case StateElement::lapic:
      return {has_lapic, has_lapic, false};  // its timer's count goes on
    case StateElement::msrs:
    case StateElement::tsc:
      return {true, true, false};  // some count by themselves
    case StateElement::cpuid:
      return {true, false, true};  // it names the hypervisor
  }
  return {};
}

Result<GeneralRegisters> MshvVcpu::read_general() const {
  std::array<abi::RegisterValue, general_count> values{};
  TRIVET_TRY(read_registers_of(general_names(), values));
  return general_from(values);
}
Result<void> MshvVcpu::write_general(const GeneralRegisters& registers) {
  const auto names = general_names();
  const auto values = general_values(registers);
  std::array<abi::RegisterAssignment, general_count> assignments{};
  for (std::size_t i = 0; i < general_count; ++i) assignments[i] = assign(names[i], values[i]);
  return write(assignments);
}

Result<SystemRegisters> MshvVcpu::read_system() const {
  std::array<abi::RegisterValue, system_count> values{};
  TRIVET_TRY(read_registers_of(system_names(), values));
  return system_from(values);
}
Result<void> MshvVcpu::write_system(const SystemRegisters& registers) {
  const auto names = system_names();
  const auto values = system_values(registers);
  std::array<abi::RegisterAssignment, system_count> assignments{};
  for (std::size_t i = 0; i < system_count; ++i) assignments[i] = assign(names[i], values[i].low, values[i].high);
  return write(assignments);
}

Result<void> MshvVcpu::vp_state(abi::VpStateType type, std::span<std::uint8_t> buffer, bool write) const {
  abi::VpState request{};
  request.type = static_cast<std::uint8_t>(type);
  request.size = static_cast<std::uint32_t>(buffer.size());
  // SAFETY: the kernel takes the address as a number.
  request.buffer = reinterpret_cast<std::uintptr_t>(buffer.data());
  TRIVET_TRY(call(handle_, write ? abi::set_vp_state : abi::get_vp_state, &request,
                  write ? "MSHV_SET_VP_STATE" : "MSHV_GET_VP_STATE",
                  type == abi::VpStateType::lapic ? "lapic" : "xsave"));
  return {};
}

Result<Xsave> MshvVcpu::read_xsave() const {
  TRIVET_ASSIGN(const auto size,
                read_property(context_.partition, abi::property::max_xsave_size, "read the size of xsave"));
  if (size > most_xsave) return Error::from_hypervisor(size, save_operation, "an xsave area of impossible size");
  PageBuffer buffer(std::max<std::uint64_t>(size, least_xsave));
  TRIVET_TRY(vp_state(abi::VpStateType::xsave, buffer.bytes(), false));
  Xsave xsave;
  TRIVET_ASSIGN(xsave.area, XsaveLayout(context_.host.cpuid).to_standard(buffer.bytes()));
  return xsave;
}

Result<void> MshvVcpu::write_xsave(const Xsave& xsave) {
  TRIVET_ASSIGN(const auto size,
                read_property(context_.partition, abi::property::max_xsave_size, "read the size of xsave"));
  TRIVET_ASSIGN(const auto states,
                read_property(context_.partition, abi::property::xsave_states, "read the states of xsave"));
  if (size > most_xsave) return Error::from_hypervisor(size, restore_operation, "an xsave area of impossible size");
  PageBuffer buffer(std::max<std::uint64_t>(size, least_xsave));
  TRIVET_TRY(XsaveLayout(context_.host.cpuid).to_compacted(xsave.area, states, buffer.bytes()));
  return vp_state(abi::VpStateType::xsave, buffer.bytes(), true);
}

Result<LapicRegisters> MshvVcpu::read_lapic() const {
  PageBuffer buffer(abi::page_size);
  TRIVET_TRY(vp_state(abi::VpStateType::lapic, buffer.bytes(), false));
  LapicRegisters lapic;
  for_each_lapic_field([&](std::size_t field, std::size_t at) {
    std::memcpy(lapic.page.data() + at, buffer.bytes().data() + field, 4);
  });
  // What the hypervisor keeps elsewhere: the id is the processor's index, the priority is CR8.
  lapic.page[lapic_id_at + 3] = static_cast<std::uint8_t>(index_);
  TRIVET_ASSIGN(const auto priority, read_one(reg::cr8));
  lapic.page[lapic_priority_at] = static_cast<std::uint8_t>(priority << 4);
  return lapic;
}

Result<void> MshvVcpu::write_lapic(const LapicRegisters& lapic) {
  PageBuffer buffer(abi::page_size);
  TRIVET_TRY(vp_state(abi::VpStateType::lapic, buffer.bytes(), false));  // the id stays as the hypervisor says it
  for_each_lapic_field([&](std::size_t field, std::size_t at) {
    std::memcpy(buffer.bytes().data() + field, lapic.page.data() + at, 4);
  });
  TRIVET_TRY(vp_state(abi::VpStateType::lapic, buffer.bytes(), true));
  return write_one(reg::cr8, lapic.page[lapic_priority_at] >> 4);
}

Result<Activity> MshvVcpu::read_activity() const {
  TRIVET_ASSIGN(const auto bits, read_one(reg::activity));
  if ((bits & abi::activity_bit::startup) != 0) return Activity::wait_for_sipi;
  return (bits & (abi::activity_bit::halt | abi::activity_bit::idle)) != 0 ? Activity::halted : Activity::running;
}

Result<void> MshvVcpu::write_activity(Activity activity) {
  switch (activity) {
    case Activity::running:
      return write_one(reg::activity, 0);
    case Activity::halted:
      return write_one(reg::activity, abi::activity_bit::halt);
    case Activity::wait_for_sipi:
    case Activity::init_received:
      return write_one(reg::activity, abi::activity_bit::startup);
    case Activity::sipi_received:
    case Activity::stopped:
      break;
  }
  return Error::unsupported(restore_operation, "a vCPU in the midst of a startup IPI, or stopped by it");
}

Result<PendingEvents> MshvVcpu::read_events() const {
  std::array<abi::RegisterValue, event_names.size()> values{};
  TRIVET_TRY(read_registers_of(event_names, values));
  auto events = events_from(values);
  events.nmi_pending = nmi_asked_.load();
  return events;
}

Result<void> MshvVcpu::write_events(const PendingEvents& events) {
  if (events.triple_fault_pending) return Error::unsupported(restore_operation, "a pending triple fault");
  if (events.in_smm || events.smi_pending) return Error::unsupported(restore_operation, "SMM");
  const auto values = event_values(events);
  std::array<abi::RegisterAssignment, event_names.size()> assignments{};
  for (std::size_t i = 0; i < values.size(); ++i)
    assignments[i] = assign(event_names[i], values[i].low, values[i].high);
  TRIVET_TRY(write(assignments));
  nmi_asked_.store(events.nmi_pending);
  return {};
}

Result<DebugRegisters> MshvVcpu::read_debug_registers() const {
  constexpr std::array<std::uint32_t, 6> names{reg::dr0, reg::dr0 + 1, reg::dr0 + 2, reg::dr0 + 3, reg::dr6, reg::dr7};
  std::array<abi::RegisterValue, names.size()> values{};
  TRIVET_TRY(read_registers_of(names, values));
  DebugRegisters registers;
  for (std::size_t i = 0; i < 4; ++i) registers.address[i] = values[i].low;
  registers.dr6 = values[4].low;
  registers.dr7 = values[5].low;
  return registers;
}
Result<void> MshvVcpu::write_debug_registers(const DebugRegisters& r) {
  const std::array assignments{assign(reg::dr0, r.address[0]),
                               assign(reg::dr0 + 1, r.address[1]),
                               assign(reg::dr0 + 2, r.address[2]),
                               assign(reg::dr0 + 3, r.address[3]),
                               assign(reg::dr6, r.dr6),
                               assign(reg::dr7, r.dr7)};
  return write(assignments);
}

Result<void> MshvVcpu::write_cpuid_entries(std::span<const CpuidEntry> entries) {
  TRIVET_ASSIGN(const auto now, read_cpuid(handle_, index_));
  if (std::equal(now.begin(), now.end(), entries.begin(), entries.end())) return {};
  if (progress_.ran) return Error(Errc::bad_state, "set CPUID", "the vCPU has run; its CPUID stays as it is");
  return register_cpuid(handle_, index_, entries, now);
}

Result<void> MshvVcpu::settled(const char* operation) const {
  if (!progress_.msr) return {};
  return Error(Errc::bad_state, operation, "vCPU " + std::to_string(index_) + ": an MSR access waits for its answer");
}

Result<VcpuState> MshvVcpu::save(StateElements elements) const {
  const StateCall state_call(*this);
  if (!state_call.ok()) return running(save_operation);
  TRIVET_TRY(settled(save_operation));
  VcpuState state;
  TRIVET_TRY(save_into(state, elements));
  return state;
}

Result<void> MshvVcpu::save_into(VcpuState& state, StateElements elements) const {
  const auto wanted = [&](StateElement element) {
    return elements.contains(element) && state_support(element, context_).present;
  };
#define TRIVET_SAVE(element, expression)        \
  if (wanted(StateElement::element)) {          \
    TRIVET_ASSIGN(state.element, (expression)); \
  }
  TRIVET_SAVE(activity, read_activity())
  TRIVET_SAVE(events, read_events())
  TRIVET_SAVE(general_registers, read_general())
  TRIVET_SAVE(system_registers, read_system())
  TRIVET_SAVE(xsave, read_xsave())
  TRIVET_SAVE(debug_registers, read_debug_registers())
  TRIVET_SAVE(lapic, read_lapic())
  TRIVET_SAVE(msrs, msrs_.read(handle_, index_))
  TRIVET_SAVE(cpuid, read_cpuid(handle_, index_))
#undef TRIVET_SAVE
  if (wanted(StateElement::extended_control)) {
    TRIVET_ASSIGN(const auto xcr0, read_one(reg::xfem));
    state.extended_control = ExtendedControl{xcr0};
  }
  if (wanted(StateElement::tsc)) {
    TRIVET_ASSIGN(const auto value, read_one(reg::tsc));
    state.tsc = Tsc{value, 0};
  }
  return {};
}

Result<void> MshvVcpu::check_present(const VcpuState& state) const {
  const auto elements = state.elements();
  for (const auto element : all_state_elements()) {
    if (elements.contains(element) && !state_support(element, context_).present) {
      return Error::unsupported(restore_operation, to_string(element));
    }
  }
  if (state.xsave && state.xsave->area.size() < least_xsave) return malformed("xsave is shorter than 576 bytes");
  if (state.extended_control && (state.extended_control->xcr0 & 1) == 0) return malformed("xcr0 without x87");
  if (state.general_registers && (state.general_registers->rflags & 2) == 0) return malformed("rflags without bit 1");
  if (state.events && (state.events->exception_injected || state.events->exception_pending) &&
      state.events->exception_vector > 31)
    return malformed("an exception beyond vector 31");
  if (state.activity && !context_.has_lapic() && *state.activity != Activity::running) {
    return Error::unsupported(restore_operation, "an activity other than running, without an interrupt controller");
  }
  return {};
}

Result<void> MshvVcpu::restore(const VcpuState& state) {
  const StateCall state_call(*this);
  if (!state_call.ok()) return running(restore_operation);
  TRIVET_TRY(settled(restore_operation));
  TRIVET_TRY(check_present(state));
  return restore_from(state);
}

Result<void> MshvVcpu::restore_from(const VcpuState& state) {
  if (state.cpuid) TRIVET_TRY(write_cpuid_entries(*state.cpuid));
  if (state.system_registers) TRIVET_TRY(write_system(*state.system_registers));
  if (state.general_registers) TRIVET_TRY(write_general(*state.general_registers));
  if (state.extended_control) TRIVET_TRY(write_one(reg::xfem, state.extended_control->xcr0));
  if (state.xsave) TRIVET_TRY(write_xsave(*state.xsave));  // after the control of what is in it
  if (state.debug_registers) TRIVET_TRY(write_debug_registers(*state.debug_registers));
  if (state.lapic) TRIVET_TRY(write_lapic(*state.lapic));  // after apic_base
  if (state.lapic && state.system_registers) TRIVET_TRY(write_one(reg::cr8, state.system_registers->cr8));
  if (state.tsc) TRIVET_TRY(write_one(reg::tsc, state.tsc->value));  // before its deadline
  if (state.msrs) {
    auto order = *state.msrs;
    std::stable_partition(order.begin(), order.end(),
                          [](const MsrValue& value) { return value.index != msr_tsc_deadline; });
    TRIVET_TRY(MsrList::write(handle_, index_, order));  // after the LAPIC's timer mode
  }
  if (state.activity) TRIVET_TRY(write_activity(*state.activity));
  if (state.events) TRIVET_TRY(write_events(*state.events));
  return {};
}

}  // namespace trivet::mshv
