// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Lines, messages and the end of a level interrupt. The guest counts; every one asked for comes once.
#include <poll.h>
#include <unistd.h>

#include "scenarios.hpp"

namespace conformance {
namespace {

using namespace trivet_guest;
using trivet::IrqchipKind;
using trivet::MsiMessage;
using trivet::Trigger;

constexpr std::uint64_t rounds = 20;
constexpr std::uint64_t one = 1;

bool signal_fd(int fd) {
  return ::write(fd, &one, sizeof one) == sizeof one;
}

Outcome check(const trivet::Result<void>& result, const char* what) {
  return result ? passed() : failed(fmt::format("{}: {}", what, trivet::to_string(result.error())));
}

trivet::Result<std::unique_ptr<Machine>> machine_with(trivet::Hypervisor& hypervisor, const char* name,
                                                      IrqchipKind kind = IrqchipKind::full) {
  MachineOptions options;
  options.config.irqchip = kind;
  auto machine = Machine::create(hypervisor, name, options);
  if (machine) (*machine)->mailbox().argument[0] = rounds;
  return machine;
}

MsiMessage message_for(std::uint64_t apic_id, std::uint64_t vector) {
  return {.address = 0xfee00000 | apic_id << 12, .data = static_cast<std::uint32_t>(vector)};
}

}  // namespace

Outcome line_edge(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, machine_with(hypervisor, "line_edge"));
  auto* router = machine->vm().irq_router();
  CONFORM(router != nullptr, "no facet for a capability that is there");
  CONFORM_ASSIGN(auto first, router->line(5, Trigger::edge));
  CONFORM_ASSIGN(auto second, router->line(11, Trigger::edge));
  CONFORM_ERROR(router->line(4096, Trigger::edge), trivet::Errc::out_of_range);
  CONFORM_ERROR(first->set_level(true), trivet::Errc::unsupported);
  Outcome raised = passed();
  machine->bus().on_stage = [&](std::uint32_t stage) {
    // Through the call and, where there is one, through its descriptor in turn.
    if (stage == 1) raised = check(first->signal(), "signal");
    if (stage == 2) {
      if (!(first->trigger_fd() >= 0 ? signal_fd(first->trigger_fd()) : first->signal().has_value())) {
        raised = failed("the line's descriptor");
      }
      if (auto result = check(second->signal(), "signal"); failed(result)) raised = result;
    }
    return failed(raised);
  };
  auto outcome = machine->finish();
  CONFORM_STEP(raised);
  return outcome;
}

Outcome line_level(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, machine_with(hypervisor, "line_level"));
  auto* router = machine->vm().irq_router();
  CONFORM(router != nullptr, "no facet for a capability that is there");
  CONFORM_ASSIGN(auto line, router->line(10, Trigger::level));
  Outcome raised = passed();
  machine->bus().on_stage = [&](std::uint32_t) {
    machine->mailbox().go = 1;
    raised = check(line->set_level(true), "set_level");
    return failed(raised);
  };
  // Still asserted at the first end of interrupt: it must come again; lowered in the second.
  machine->bus().on_value = [&](std::uint32_t count) {
    if (count % 2 != 0) return;
    machine->mailbox().go = 0;
    raised = check(line->set_level(false), "set_level");
  };
  auto outcome = machine->finish();
  CONFORM_STEP(raised);
  CONFORM_STEP(outcome);
  const auto late = machine->mailbox().result[0];
  return passed(late == 0 ? "" : fmt::format("{} of {} came once more after the line fell", late, rounds));
}

Outcome line_resample(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, machine_with(hypervisor, "line_resample"));
  auto* router = machine->vm().irq_router();
  CONFORM(router != nullptr, "no facet for a capability that is there");
  CONFORM_ASSIGN(auto line, router->line(10, Trigger::level_resample));
  CONFORM(line->resample_fd() >= 0, "no descriptor for a capability that is there");
  Outcome raised = passed();
  std::uint64_t resamples = 0;
  machine->bus().on_stage = [&](std::uint32_t stage) {
    pollfd waiting{.fd = line->resample_fd(), .events = POLLIN, .revents = 0};
    if (stage == 1) {
      if (::poll(&waiting, 1, 0) != 0) raised = failed("an end of interrupt before the interrupt");
      if (auto result = check(line->signal(), "signal"); failed(result)) raised = result;
    } else if (std::uint64_t count = 0;
               ::poll(&waiting, 1, 2000) == 1 && ::read(line->resample_fd(), &count, sizeof count) == sizeof count) {
      resamples += count;
    } else {
      raised = failed("no end of interrupt was told");
    }
    return failed(raised);
  };
  auto outcome = machine->finish();
  CONFORM_STEP(raised);
  CONFORM_STEP(outcome);
  CONFORM(resamples == rounds, "{} ends of interrupt for {} interrupts", resamples, rounds);
  return passed();
}

namespace {

Outcome run_msi(trivet::Hypervisor& hypervisor, IrqchipKind kind) {
  CONFORM_ASSIGN(auto machine, machine_with(hypervisor, "msi", kind));
  auto* router = machine->vm().irq_router();
  CONFORM(router != nullptr, "no facet for a capability that is there");
  if (auto* chip = machine->vm().irqchip()) CONFORM(chip->kind() == kind, "another kind of irqchip was made");
  CONFORM_STEP(machine->reach(9));
  const auto& result = machine->mailbox().result;
  const MsiMessage first = message_for(result[0], result[1]);
  const MsiMessage second = message_for(result[0], result[2]);
  CONFORM_ASSIGN(auto route, router->msi_route(first));
  CONFORM_ASSIGN(auto unused, router->msi_route(second));
  unused.reset();  // takes its own route away and no other
  CONFORM_ERROR(route->set_level(true), trivet::Errc::unsupported);
  Outcome raised = passed();
  std::uint64_t round = 0;
  machine->bus().on_stage = [&](std::uint32_t stage) {
    Outcome step = passed();
    if (stage == 1 && ++round % 2 == 0 && route->trigger_fd() >= 0) {
      if (!signal_fd(route->trigger_fd())) step = failed("the route's descriptor");
    } else if (stage == 1) {
      step = check(route->signal(), "signal");
    } else if (stage == 2) {
      step = check(router->signal_msi(second), "signal_msi");
    } else {
      step = check(route->set_message(second), "set_message");
      if (!failed(step)) step = check(route->signal(), "signal");
    }
    if (failed(step)) raised = step;
    return failed(step);
  };
  auto outcome = machine->finish();
  CONFORM_STEP(raised);
  return outcome;
}

}  // namespace

Outcome msi(trivet::Hypervisor& hypervisor) {
  const bool full = hypervisor.supports(trivet::Cap::irqchip_full) != trivet::Support::no;
  return run_msi(hypervisor, full ? IrqchipKind::full : IrqchipKind::split);
}

Outcome split_irqchip(trivet::Hypervisor& hypervisor) {
  CONFORM_STEP(run_msi(hypervisor, IrqchipKind::split));
  CONFORM_ASSIGN(auto machine, machine_with(hypervisor, "line_edge", IrqchipKind::split));
  CONFORM_ERROR(machine->vm().irq_router()->line(5, Trigger::edge), trivet::Errc::unsupported);
  return passed();
}

}  // namespace conformance
