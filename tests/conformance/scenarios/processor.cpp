// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// CPUID, MSRs, events, address translation, ends, and calls at the wrong time.
#include <algorithm>
#include <atomic>
#include <thread>

#include "scenarios.hpp"

namespace conformance {
namespace {

using namespace trivet_guest;
using trivet::CpuidEntry;
using trivet::Errc;
using trivet::StateElement;

// Inlined, GCC 12 takes the optional for uninitialized (bug 80635).
[[gnu::noinline]] bool msr_is(const trivet::VcpuState& state, std::uint32_t index, std::uint64_t value) {
  const auto is_it = [&](const trivet::MsrValue& msr) { return msr.index == index && msr.value == value; };
  return state.msrs && std::ranges::any_of(*state.msrs, is_it);
}

// Whether a state with masked NMIs is taken: a hypervisor that does not show the mask refuses it by name. The vCPU has
// not run.
bool shows_masked_nmis(Machine& machine) {
  if (!machine.vm().state_support(StateElement::events).present) return false;
  const auto state = machine.vcpu().save({StateElement::events});
  if (!state) return false;
  auto masked = *state;
  masked.events->nmi_masked = true;
  const auto taken = machine.vcpu().restore(masked);
  return taken && machine.vcpu().restore(*state);
}

}  // namespace

Outcome multi_vcpu(trivet::Hypervisor& hypervisor) {
  const auto most = hypervisor.limit(trivet::Limit::vcpus);
  if (most < 2) return unsupported("limit vcpus is 1");
  const auto count = static_cast<unsigned>(std::min<std::uint64_t>(most, 4));
  MachineOptions options;
  options.config.max_vcpus = count;
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "multi_vcpu", options));
  CONFORM(machine->vm().vcpus().size() == count, "{} vCPUs", machine->vm().vcpus().size());
  machine->mailbox().argument[0] = count;
  for (unsigned i = 0; i < count; ++i) {
    CONFORM(machine->vcpu(i).index() == i, "vCPU {} says it is {}", i, machine->vcpu(i).index());
    CONFORM_ASSIGN(const auto state, machine->vcpu(i).save({StateElement::lapic, StateElement::activity}));
    CONFORM(state.lapic.has_value(), "no LAPIC to tell the APIC id");
    machine->mailbox().argument[1 + i] = std::to_integer<std::uint64_t>(std::byte{state.lapic->page[0x23]});
    if (i != 0 && state.activity)
      CONFORM(*state.activity == trivet::Activity::wait_for_sipi, "vCPU {} does not wait", i);
  }
  CONFORM_ERROR(machine->vm().create_vcpu(count), Errc::out_of_range);
  CONFORM_ERROR(machine->vm().create_vcpu(0), Errc::already_exists);
  std::atomic<unsigned> seen = 0;
  machine->bus().on_value = [&](std::uint32_t number) { seen.fetch_or(1u << number); };
  machine->start_others();
  auto outcome = machine->finish();
  machine->stop_others();
  CONFORM_STEP(outcome);
  CONFORM(seen == (1u << count) - 2, "vCPUs {:#x} of {} told their number", seen.load(), count);
  return passed(fmt::format("{} vCPUs", count));
}

// What was set is seen: changed leaves, a leaf with subleaves, and one that no processor has.
Outcome cpuid(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto entries, hypervisor.supported_cpuid());
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "cpuid_as_set"));
  std::erase_if(entries, [](const CpuidEntry& entry) {
    return (entry.leaf >= 0x40000000 && entry.leaf <= 0x4fffffff) || entry.leaf == 4 ||
           (entry.leaf >= 0x80000002 && entry.leaf <= 0x80000004);
  });
  const CpuidEntry brand{
      .leaf = 0x80000002, .eax = 0x76697274, .ebx = 0x63207465, .ecx = 0x6f666e6f, .edx = 0x6e616d72};
  std::vector<CpuidEntry> ours{brand};
  if (hypervisor.supports(trivet::Cap::free_cpuid) != trivet::Support::no)
    ours = {
        {.leaf = 0x40000000, .eax = 0x40000001, .ebx = 0x76697254, .ecx = 0x72547465, .edx = 0x74657669},
        {.leaf = 0x40000001, .eax = 0x11111111, .ebx = 0x22222222, .ecx = 0x33333333, .edx = 0x44444444},
        {.leaf = 4, .subleaf = 0, .subleaf_matters = true, .eax = 0x121, .ebx = 0x1c0003f, .ecx = 0x3f, .edx = 0},
        {.leaf = 4, .subleaf = 1, .subleaf_matters = true, .eax = 0x122, .ebx = 0x1c0003f, .ecx = 0x7f, .edx = 1},
        brand,
    };
  entries.insert(entries.end(), ours.begin(), ours.end());
  CONFORM_OK(machine->vcpu().set_cpuid(entries));
  machine->mailbox().argument[0] = ours.size();
  for (std::size_t i = 0; i < ours.size(); ++i) {
    machine->mailbox().argument[1 + 2 * i] = ours[i].leaf;
    machine->mailbox().argument[2 + 2 * i] = ours[i].subleaf;
  }
  CONFORM_STEP(machine->finish());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const auto low = machine->mailbox().result[2 * i], high = machine->mailbox().result[2 * i + 1];
    CONFORM(low == (ours[i].eax | std::uint64_t{ours[i].ebx} << 32) &&
                high == (ours[i].ecx | std::uint64_t{ours[i].edx} << 32),
            "leaf {:#x}.{} answers {:#x} {:#x}", ours[i].leaf, ours[i].subleaf, low, high);
  }
  return passed();
}

Outcome msr_round_trip(trivet::Hypervisor& hypervisor) {
  static constexpr std::array<std::uint32_t, 6> indices{0xc0000081, 0xc0000082, 0xc0000084, 0xc0000102, 0x174, 0x277};
  static constexpr std::array<std::uint64_t, 6> before{
      0x0023001000000000, 0xffff800012345678, 0x47700, 0x7f0012345000, 0x10, 0x0007040600070406};
  static constexpr std::array<std::uint64_t, 6> after{
      0x0033002000000000, 0xffff80008765432f, 0x257fd, 0x7f0087654000, 0x20, 0x0007010600070106};
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "msr_round_trip"));
  if (!machine->vm().state_support(StateElement::msrs).present) return unsupported("state element msrs is not present");
  trivet::VcpuState state;
  state.msrs.emplace();
  // The last, PAT, is not for the guest to read: with nested paging that reaches the processor, and QEMU's emulated SVM
  // has the host's there.
  constexpr auto read_by_guest = indices.size() - 1;
  machine->mailbox().argument[0] = read_by_guest;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    state.msrs->push_back({indices[i], before[i]});
    machine->mailbox().argument[1 + 2 * i] = indices[i];
    machine->mailbox().argument[2 + 2 * i] = after[i];
  }
  CONFORM_OK(machine->vcpu().restore(state));
  CONFORM_ASSIGN(const auto restored, machine->vcpu().save({StateElement::msrs}));
  for (std::size_t i = 0; i < indices.size(); ++i) {
    CONFORM(msr_is(restored, indices[i], before[i]), "msr {:#x} as it was restored", indices[i]);
  }
  CONFORM_STEP(machine->reach(1));
  CONFORM_ASSIGN(const auto saved, machine->vcpu().save({StateElement::msrs}));
  for (std::size_t i = 0; i < read_by_guest; ++i) {
    CONFORM(machine->mailbox().result[i] == before[i], "the guest reads {:#x} in msr {:#x}",
            machine->mailbox().result[i], indices[i]);
    CONFORM(msr_is(saved, indices[i], after[i]), "msr {:#x} as the guest wrote it", indices[i]);
  }
  return machine->finish();
}

Outcome msr_exits(trivet::Hypervisor& hypervisor) {
  constexpr std::uint32_t index = 0x1f0;  // no processor's
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "msr_exits"));
  auto* intercepts = machine->vm().msr_intercepts();
  CONFORM(intercepts != nullptr, "no facet for a capability that is there");
  const trivet::MsrRange range{.first = index, .count = 2};
  CONFORM_OK(intercepts->set({&range, 1}));
  machine->mailbox().argument[0] = index;
  struct Step {
    bool write;
    std::uint64_t value;
    std::optional<std::uint64_t> answer;
  };
  const std::array<Step, 4> steps{{{false, 0, 0x1122334455667788},
                                   {true, 0x99aabbccddeeff00, 0},
                                   {false, 0, std::nullopt},
                                   {true, 5, std::nullopt}}};
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Stop stop = machine->drive();
    CONFORM(stop.kind == Stop::Kind::exit, "no exit {}: {} {}", i, stop.value, stop.text);
    const auto* msr = std::get_if<trivet::exits::Msr>(&*stop.exit);
    CONFORM(msr != nullptr, "{}", stop.text);
    CONFORM(msr->index == index && msr->write == steps[i].write, "access {} was msr {:#x} write {}", i, msr->index,
            msr->write);
    if (msr->write) CONFORM(msr->value == steps[i].value, "wrote {:#x}", msr->value);
    CONFORM_ERROR(machine->runner().run(machine->bus()), Errc::bad_state);  // an answer is owed
    CONFORM_OK(machine->vcpu().answer_msr(steps[i].answer));
  }
  return machine->finish();
}

Outcome nmi(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "nmi"));
  const bool can_unmask = shows_masked_nmis(*machine);
  machine->mailbox().argument[0] = can_unmask ? 1 : 0;
  Outcome injected = passed();
  machine->bus().on_stage = [&](std::uint32_t stage) {
    if (stage != 1) return true;
    if (auto result = machine->vcpu().inject_nmi(); !result) injected = failed(trivet::to_string(result.error()));
    return failed(injected);
  };
  if (can_unmask) {
    auto reached = machine->reach(2);
    CONFORM_STEP(injected);
    CONFORM_STEP(reached);
    CONFORM_ASSIGN(auto state, machine->vcpu().save({StateElement::events}));
    state.events->nmi_masked = false;
    CONFORM_OK(machine->vcpu().restore(state));
    CONFORM_OK(machine->vcpu().inject_nmi());
  }
  auto outcome = machine->finish();
  CONFORM_STEP(injected);
  return outcome;
}

Outcome exceptions(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "exceptions"));
  CONFORM_STEP(machine->reach(1));
  CONFORM_OK(machine->vcpu().inject({.vector = 13, .has_error_code = true, .error_code = 0x1230}));
  CONFORM_STEP(machine->reach(2));
  CONFORM_OK(machine->vcpu().inject({.vector = 6}));
  CONFORM_STEP(machine->finish());
  CONFORM_ERROR(machine->vcpu().inject({.vector = 32}), Errc::invalid_argument);
  return passed();
}

Outcome translate(trivet::Hypervisor& hypervisor) {
  constexpr std::uint64_t high = 0x10'0000'0000;
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "translate"));
  machine->mailbox().argument[0] = high;
  CONFORM_STEP(machine->reach(1));
  auto& vcpu = machine->vcpu();
  CONFORM_ASSIGN(const auto same, vcpu.translate({0x123456}));
  CONFORM(same && same->address.value == 0x123456 && same->writable && !same->user, "the identity map");
  CONFORM_ASSIGN(const auto read_only, vcpu.translate({high + 0x12345}));
  CONFORM(read_only && read_only->address.value == scratch + 0x12345, "a high page");
  CONFORM(!read_only->writable && !read_only->user, "a read-only page of the supervisor: writable {} user {}",
          read_only->writable, read_only->user);
  CONFORM_ASSIGN(const auto user, vcpu.translate({high + 0x200000 + 0xfff}));
  CONFORM(user && user->address.value == scratch + 0xfff && user->writable && user->user, "a page of the user");
  CONFORM_ASSIGN(const auto none, vcpu.translate({high + 0x400000}));
  CONFORM(!none, "an address that is not mapped");
  CONFORM_ASSIGN(const auto far, vcpu.translate({0x7fff'0000'0000}));
  CONFORM(!far, "an address far from any mapping");
  return machine->finish();
}

Outcome triple_fault(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "triple_fault"));
  CONFORM_STEP(machine->reach(1));
  const Stop stop = machine->drive();
  CONFORM(stop.kind == Stop::Kind::exit && std::holds_alternative<trivet::exits::TripleFault>(*stop.exit),
          "stopped at {} {}", stop.value, stop.text);
  return passed();
}

// Without an interrupt controller HLT comes out, once for each, and the next run goes on behind it.
Outcome halt(trivet::Hypervisor& hypervisor) {
  MachineOptions options;
  options.config.irqchip = trivet::IrqchipKind::none;
  options.config.halt_exits = true;
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "halt", options));
  std::uint32_t value = 0;
  machine->bus().on_value = [&](std::uint32_t seen) { value = seen; };
  for (std::uint32_t i = 1; i <= 3; ++i) {
    const Stop stop = machine->drive();
    CONFORM(stop.kind == Stop::Kind::exit && std::holds_alternative<trivet::exits::Halted>(*stop.exit),
            "stopped at {} {}", stop.value, stop.text);
    CONFORM(value == i, "halted after value {}, wanted {}", value, i);
  }
  return machine->finish();
}

Outcome wrong_state(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "wrong_state"));
  std::atomic<bool> ended = false;
  Outcome outcome = passed();
  std::jthread runner([&] {
    outcome = machine->finish();
    ended = true;
  });
  const auto misuse = [&]() -> Outcome {
    while (std::atomic_ref(machine->mailbox().count).load() == 0 && !ended) std::this_thread::yield();
    auto& vcpu = machine->vcpu();
    CONFORM_ERROR(vcpu.registers(), Errc::bad_state);
    CONFORM_ERROR(vcpu.set_registers({}), Errc::bad_state);
    CONFORM_ERROR(vcpu.system_registers(), Errc::bad_state);
    CONFORM_ERROR(vcpu.save(trivet::StateElements::all()), Errc::bad_state);
    CONFORM_ERROR(vcpu.restore({}), Errc::bad_state);
    CONFORM_ERROR(vcpu.set_cpuid({}), Errc::bad_state);
    CONFORM_ERROR(vcpu.translate({0}), Errc::bad_state);
    CONFORM_ERROR(machine->runner().run(machine->bus()), Errc::bad_state);
    CONFORM_ERROR(machine->runner().drain(machine->bus()), Errc::bad_state);
    return passed();
  };
  const Outcome misused = misuse();
  std::atomic_ref(machine->mailbox().go).store(1);
  runner.join();
  CONFORM_STEP(misused);
  CONFORM_STEP(outcome);
  CONFORM_OK(machine->vcpu().registers());
  return passed();
}

// What a backend says it lacks it refuses by name; what creation asks for and is missing is not dropped.
Outcome refusals(trivet::Hypervisor& hypervisor) {
  const auto no = [&](trivet::Cap cap) { return hypervisor.supports(cap) == trivet::Support::no; };
  using trivet::Cap;
  if (no(Cap::attach)) CONFORM_ERROR(hypervisor.attach(trivet::VmId{1}, {}), Errc::unsupported);
  if (no(Cap::pit)) CONFORM_ERROR(hypervisor.create({.pit = true}), Errc::unsupported);
  if (no(Cap::irqchip_full))
    CONFORM_ERROR(hypervisor.create({.irqchip = trivet::IrqchipKind::full}), Errc::unsupported);
  if (no(Cap::irqchip_split))
    CONFORM_ERROR(hypervisor.create({.irqchip = trivet::IrqchipKind::split}), Errc::unsupported);
  if (no(Cap::dirty_ring)) CONFORM_ERROR(hypervisor.create({.dirty_ring_entries = 1024}), Errc::unsupported);
  CONFORM(!hypervisor.create({.halt_exits = true}), "halt exits with an interrupt controller were promised");
  CONFORM(!hypervisor.create({.max_vcpus = 0}), "a VM of no vCPUs was made");
  const auto most = hypervisor.limit(trivet::Limit::vcpus);
  CONFORM(!hypervisor.create({.max_vcpus = static_cast<unsigned>(most) + 1}), "more vCPUs than the limit {}", most);
  CONFORM_ASSIGN(auto vm, hypervisor.create(possible(hypervisor)));
  const auto facet = [&](Cap cap, const void* pointer) { return !no(cap) || pointer == nullptr; };
  CONFORM(facet(Cap::dirty_log, vm->dirty_log()) && facet(Cap::doorbells, vm->doorbells()) &&
              facet(Cap::clock, vm->clock()) && facet(Cap::posted_writes, vm->posted_writes()) &&
              facet(Cap::msr_exits, vm->msr_intercepts()),
          "a facet without its capability");
  return passed();
}

}  // namespace conformance
