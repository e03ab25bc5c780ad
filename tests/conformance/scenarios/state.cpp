// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// vCPU state: what the guest has the host reads, what the host writes the guest has, and it moves to another VM.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "scenarios.hpp"

namespace conformance {
namespace {

using namespace trivet_guest;
using trivet::GeneralRegisters;
using trivet::StateElement;
using trivet::StateElements;
using trivet::VcpuState;

constexpr std::uint64_t guest_pattern = 0x1111111111111100;
constexpr std::uint32_t msr_lstar = 0xc0000082;
constexpr std::uint32_t msr_kernel_gs_base = 0xc0000102;

Outcome check_loaded(const GeneralRegisters& r) {
  const std::array<std::uint64_t, 13> seen{r.rbx, r.rcx, r.rsi, r.rdi, r.rbp, r.r8, r.r9,
                                           r.r10, r.r11, r.r12, r.r13, r.r14, r.r15};
  const std::array<unsigned, 13> marks{1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (std::size_t i = 0; i < seen.size(); ++i) {
    CONFORM(seen[i] == guest_pattern + marks[i], "register {} is {:#x}", marks[i], seen[i]);
  }
  CONFORM(r.rax == 1 && r.rdx == port_sync, "rax {:#x} rdx {:#x}", r.rax, r.rdx);
  CONFORM((r.rflags & 3) == 3, "rflags {:#x} without carry", r.rflags);
  return passed();
}

const std::uint64_t* find_msr(const VcpuState& state, std::uint32_t index) {
  if (!state.msrs) return nullptr;
  const auto found = std::ranges::find(*state.msrs, index, &trivet::MsrValue::index);
  return found == state.msrs->end() ? nullptr : &found->value;
}

// Every element of the set that is there.
StateElements present(trivet::Vm& vm, StateElements wanted = StateElements::all()) {
  StateElements elements;
  for (const auto element : trivet::all_state_elements()) {
    if (wanted.contains(element) && vm.state_support(element).present) elements.insert(element);
  }
  return elements;
}

}  // namespace

Outcome registers(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "registers"));
  auto& vcpu = machine->vcpu();
  CONFORM_STEP(machine->reach(1));
  CONFORM_ASSIGN(const auto loaded, vcpu.registers());
  CONFORM_STEP(check_loaded(loaded));

  CONFORM_ASSIGN(auto system, vcpu.system_registers());
  CONFORM((system.efer & 0x500) == 0x500 && (system.cr0 >> 31) == 1 && system.cs.long_mode, "not in long mode");
  system.cr2 = 0xabcdef000;
  system.cr8 = 5;
  system.fs.base = scratch + 0x40;
  system.gs.base = scratch + 0x80;
  CONFORM_OK(vcpu.set_system_registers(system));
  CONFORM_ASSIGN(const auto system_back, vcpu.system_registers());
  CONFORM(system_back == system, "system registers do not read back as written");
  const std::uint64_t at_fs = 0x0f50f50f5, at_gs = 0x0650650650;
  std::memcpy(machine->ram().subspan(scratch + 0x40).data(), &at_fs, sizeof at_fs);
  std::memcpy(machine->ram().subspan(scratch + 0x88).data(), &at_gs, sizeof at_gs);

  constexpr std::uint64_t mark = 0x2222222222222200;
  auto& result = machine->mailbox().result;
  const GeneralRegisters wanted{.rax = mark,
                                .rbx = mark + 1,
                                .rcx = mark + 2,
                                .rdx = mark + 3,
                                .rsi = mark + 4,
                                .rdi = mark + 5,
                                .rsp = loaded.rsp,
                                .rbp = mark + 6,
                                .r8 = mark + 7,
                                .r9 = mark + 8,
                                .r10 = mark + 9,
                                .r11 = mark + 10,
                                .r12 = mark + 11,
                                .r13 = mark + 12,
                                .r14 = mark + 13,
                                .r15 = mark + 14,
                                .rip = result[30],
                                .rflags = 0x8c6};
  CONFORM_OK(vcpu.set_registers(wanted));
  CONFORM_ASSIGN(const auto back, vcpu.registers());
  CONFORM(back == wanted, "general registers do not read back as written");
  CONFORM_STEP(machine->reach(2));
  for (std::size_t i = 0; i < 15; ++i)
    CONFORM(result[i] == mark + i, "the guest has {:#x} in register {}", result[i], i);
  CONFORM((result[15] & 0x8d5) == (wanted.rflags & 0x8d5), "the guest's rflags are {:#x}", result[15]);
  CONFORM(result[16] == wanted.rsp, "the guest's rsp is {:#x}", result[16]);
  CONFORM(result[17] == system.cr2 && result[18] == 5, "the guest's cr2 {:#x} cr8 {:#x}", result[17], result[18]);
  CONFORM(result[19] == at_fs && result[20] == at_gs, "the guest's fs and gs lead to {:#x} {:#x}", result[19],
          result[20]);
  return passed();
}

namespace {

// Saving, restoring and saving gives the same; the guest has not run in between.
Outcome round_trip(trivet::Vm& vm, trivet::Vcpu& vcpu, StateElement element) {
  const auto support = vm.state_support(element);
  const auto name = trivet::to_string(element);
  CONFORM_ASSIGN(const auto first, vcpu.save({element}));
  CONFORM(first.elements().contains(element) == support.present, "{} present {}", name, support.present);
  if (!support.present) return passed();
  CONFORM(first.elements() == StateElements{element}, "more than {} was saved", name);
  CONFORM_OK(vcpu.restore(first));
  CONFORM_ASSIGN(const auto second, vcpu.save({element}));
  CONFORM(!support.comparable || second == first, "{} does not read back as restored", name);
  return passed();
}

// Values of our own go in and come out; each is put back.
Outcome change_state(trivet::Vcpu& vcpu, const VcpuState& original, std::string& refused) {
  VcpuState changed;
  if (original.msrs) {
    changed.msrs = std::vector<trivet::MsrValue>{{msr_lstar, 0x4242424000}, {msr_kernel_gs_base, 0x2424242000}};
  }
  if (original.debug_registers) {
    changed.debug_registers = *original.debug_registers;
    changed.debug_registers->address = {0x1000, 0x2000, 0x3000, 0x4000};
  }
  if (original.lapic) {
    changed.lapic = *original.lapic;
    changed.lapic->page[0x80] = 0x30;  // task priority
  }
  if (original.xsave) {
    changed.xsave = *original.xsave;
    CONFORM(changed.xsave->area.size() >= 576, "an xsave area of {} bytes", changed.xsave->area.size());
    for (std::uint8_t i = 0; i < 16; ++i) changed.xsave->area[160 + i] = static_cast<std::uint8_t>(0xa0 + i);  // XMM0
    changed.xsave->area[512] = static_cast<std::uint8_t>(changed.xsave->area[512] | 2);  // XSTATE_BV: SSE
  }
  if (original.events) {
    changed.events = *original.events;
    changed.events->nmi_masked = !original.events->nmi_masked;
  }
  if (changed.events && changed.events->nmi_masked) {
    // A hypervisor that does not show whether NMIs are masked cannot mask them: it says so, and changes nothing.
    VcpuState masked;
    masked.events = changed.events;
    const auto taken = vcpu.restore(masked);
    if (!taken && taken.error().code() == trivet::Errc::unsupported) {
      refused = trivet::to_string(taken.error());
      changed.events.reset();
    } else {
      CONFORM_OK(taken);
    }
  }
  CONFORM_OK(vcpu.restore(changed));
  CONFORM_ASSIGN(const auto back, vcpu.save(original.elements()));
  if (changed.msrs) {
    for (const auto& [index, value] : *changed.msrs) {
      const auto* seen = find_msr(back, index);
      CONFORM(seen != nullptr && *seen == value, "msr {:#x}", index);
    }
  }
  if (changed.debug_registers)
    CONFORM(back.debug_registers->address == changed.debug_registers->address, "debug registers");
  if (changed.lapic) CONFORM(back.lapic->page[0x80] == 0x30, "the task priority is {:#x}", back.lapic->page[0x80]);
  if (changed.xsave) {
    CONFORM(std::equal(changed.xsave->area.begin() + 160, changed.xsave->area.begin() + 176,
                       back.xsave->area.begin() + 160),
            "XMM0 is not what was restored");
  }
  if (changed.events) CONFORM(back.events->nmi_masked == changed.events->nmi_masked, "nmi_masked");
  CONFORM_OK(vcpu.restore(original));
  return passed();
}

}  // namespace

Outcome state_elements(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "state_elements"));
  auto& vm = machine->vm();
  auto& vcpu = machine->vcpu();
  CONFORM_STEP(machine->reach(1));
  const auto all = present(vm);
  CONFORM(all.contains(StateElement::general_registers) && all.contains(StateElement::system_registers),
          "Cap vcpu_state without registers");
  CONFORM_ASSIGN(const auto original, vcpu.save(StateElements::all()));
  CONFORM(original.elements() == all, "not every present element was saved");
  const auto* lstar = find_msr(original, msr_lstar);
  if (all.contains(StateElement::msrs))
    CONFORM(lstar != nullptr && *lstar == 0x1234567890, "LSTAR as the guest wrote it");
  if (original.debug_registers) CONFORM(original.debug_registers->address[1] == 0x123456, "DR1 as the guest wrote it");
  for (const auto element : trivet::all_state_elements()) CONFORM_STEP(round_trip(vm, vcpu, element));
  std::string refused;
  CONFORM_STEP(change_state(vcpu, original, refused));
  if (original.tsc) {
    CONFORM_ASSIGN(const auto later, vcpu.save({StateElement::tsc}));
    CONFORM(later.tsc->value >= original.tsc->value, "the TSC went back from {} to {}", original.tsc->value,
            later.tsc->value);
    VcpuState ahead;
    ahead.tsc = {.value = original.tsc->value + (std::uint64_t{1} << 50), .frequency_khz = original.tsc->frequency_khz};
    CONFORM_OK(vcpu.restore(ahead));
    CONFORM_ASSIGN(const auto jumped, vcpu.save({StateElement::tsc}));
    CONFORM(jumped.tsc->value >= ahead.tsc->value, "the TSC is {} after it was set to {}", jumped.tsc->value,
            ahead.tsc->value);
  }
  std::string absent;
  for (const auto element : trivet::all_state_elements()) {
    if (!all.contains(element))
      absent += fmt::format("{}{}", absent.empty() ? "without " : ", ", trivet::to_string(element));
  }
  auto outcome = machine->finish();  // the guest finds its own values again
  if (!refused.empty()) absent += fmt::format("{}refused: {}", absent.empty() ? "" : "; ", refused);
  return failed(outcome) ? outcome : passed(absent);
}

namespace {

// Everything of `from`, in a new VM.
trivet::Result<std::unique_ptr<Machine>> move(trivet::Hypervisor& hypervisor, Machine& from) {
  TRIVET_ASSIGN(const auto state, from.vcpu().save(present(from.vm())));
  TRIVET_ASSIGN(auto to, Machine::create(hypervisor, "save_restore"));
  std::ranges::copy(from.ram(), to->ram().begin());
  if (auto* chip = from.vm().irqchip()) {
    TRIVET_ASSIGN(const auto controllers, chip->save());
    TRIVET_TRY(to->vm().irqchip()->restore(controllers));
  }
  if (auto* clock = from.vm().clock()) {
    TRIVET_ASSIGN(const auto time, clock->save());
    TRIVET_TRY(to->vm().clock()->restore(time, trivet::ClockRestore::frozen));
  }
  TRIVET_TRY(to->vcpu().restore(state));
  return to;
}

}  // namespace

Outcome save_restore(trivet::Hypervisor& hypervisor) {
  constexpr int moves = 6;
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "save_restore"));
  std::uint64_t count = 0;
  std::uint64_t ticks = 0;
  for (int i = 0; i < moves; ++i) {
    // Long enough for some work and, in this VM, at least two ticks; the kick then lands anywhere.
    std::uint64_t values = 0;
    bool asked = false;
    machine->bus().on_value = [&](std::uint32_t) {
      const auto now = std::atomic_ref(machine->mailbox().result[0]).load();
      if (asked || ++values < 200 + static_cast<std::uint64_t>(i) * 7 || now < ticks + 2) return;
      asked = true;
      machine->bus().on_stop(7);
    };
    CONFORM_STEP(machine->reach(7));
    auto& mailbox = machine->mailbox();
    CONFORM(mailbox.count > count, "no progress in VM {}", i);
    CONFORM(mailbox.result[0] > ticks, "no timer tick in VM {}", i);
    count = mailbox.count;
    ticks = mailbox.result[0];
    CONFORM_ASSIGN(auto next, move(hypervisor, *machine));
    CONFORM(next->mailbox().count == count, "memory was not moved");
    machine = std::move(next);
  }
  std::atomic_ref(machine->mailbox().go).store(1);
  CONFORM_STEP(machine->finish());
  CONFORM(machine->mailbox().result[1] >= count, "the guest counted to {}, had been at {}",
          machine->mailbox().result[1], count);
  return passed(fmt::format("{} moves, counted to {}, {} ticks", moves, machine->mailbox().result[1], ticks));
}

// Twice the same run: fresh memory and the state saved before the first.
Outcome reset(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "reset"));
  CONFORM_ASSIGN(const auto initial, machine->vcpu().save(present(machine->vm())));
  std::uint64_t lstar = 0;
  for (int run = 0; run < 3; ++run) {
    CONFORM_STEP(machine->finish());
    CONFORM(machine->mailbox().result[0] == 1, "run {} found memory of the run before", run);
    if (run == 0) lstar = machine->mailbox().result[1];
    CONFORM(machine->mailbox().result[1] == lstar, "run {} found an MSR of the run before", run);
    machine->bus().restart();
    CONFORM_OK(machine->load());
    CONFORM_OK(machine->vcpu().restore(initial));
  }
  return passed();
}

Outcome clock(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "clock"));
  auto* clock = machine->vm().clock();
  CONFORM(clock != nullptr, "no facet for a capability that is there");
  CONFORM_STEP(machine->reach(1));
  CONFORM_ASSIGN(const auto first, clock->save());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CONFORM_ASSIGN(const auto second, clock->save());
  CONFORM(second.guest_ns >= first.guest_ns + 15'000'000, "from {} to {} in 20 ms", first.guest_ns, second.guest_ns);
  constexpr std::uint64_t hour = 3'600'000'000'000;
  auto ahead = second;
  ahead.guest_ns += hour;
  CONFORM_OK(clock->restore(ahead, trivet::ClockRestore::frozen));
  CONFORM_ASSIGN(const auto third, clock->save());
  CONFORM(third.guest_ns >= ahead.guest_ns && third.guest_ns < ahead.guest_ns + hour / 2, "set to {}, reads {}",
          ahead.guest_ns, third.guest_ns);
  if (second.realtime_ns != 0) {  // an hour away, by the wall clock
    auto away = third;
    away.realtime_ns -= hour;
    CONFORM_OK(clock->restore(away, trivet::ClockRestore::catch_up));
    CONFORM_ASSIGN(const auto fourth, clock->save());
    CONFORM(fourth.guest_ns >= third.guest_ns + hour - 1'000'000'000, "catching up gave {} after {}", fourth.guest_ns,
            third.guest_ns);
  }
  return machine->finish();
}

}  // namespace conformance
