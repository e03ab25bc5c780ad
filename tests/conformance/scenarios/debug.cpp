// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Single steps, breakpoints and watchpoints.
#include "scenarios.hpp"

namespace conformance {
namespace {

using trivet::DebugControl;
using trivet::exits::Debug;

// Runs to the next debug exit.
Outcome next_debug(Machine& machine, Debug& debug) {
  const Stop stop = machine.drive();
  CONFORM(stop.kind == Stop::Kind::exit, "no debug exit: stage or result {} {}", stop.value, stop.text);
  const auto* found = std::get_if<Debug>(&*stop.exit);
  CONFORM(found != nullptr, "{}", stop.text);
  debug = *found;
  return passed();
}

}  // namespace

// The instructions of a straight piece of code, one exit each, in order, whatever their length.
Outcome single_step(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "single_step"));
  CONFORM_STEP(machine->reach(1));
  const auto begin = machine->mailbox().result[0];
  const auto end = machine->mailbox().result[1];
  CONFORM_OK(machine->vcpu().set_debug({.single_step = true}));
  Debug debug;
  for (int i = 0; debug.instruction_pointer != begin; ++i) {
    CONFORM(i < 100, "the code at {:#x} was not reached", begin);
    CONFORM_STEP(next_debug(*machine, debug));
  }
  for (const std::uint64_t length : {1u, 3u, 3u, 2u, 2u, 1u, 1u}) {
    const auto wanted = debug.instruction_pointer + length;
    CONFORM_STEP(next_debug(*machine, debug));
    CONFORM(debug.instruction_pointer == wanted, "stepped to {:#x}, wanted {:#x}", debug.instruction_pointer, wanted);
    CONFORM(!debug.software_breakpoint, "a step told as a breakpoint");
    CONFORM((debug.dr6 & 0x4000) != 0, "DR6 is {:#x}, without BS", debug.dr6);
  }
  CONFORM(debug.instruction_pointer == end, "ended at {:#x}", debug.instruction_pointer);
  CONFORM_OK(machine->vcpu().set_debug({}));
  CONFORM_STEP(machine->reach(2));
  return machine->finish();
}

Outcome breakpoints_hardware(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "breakpoints_hardware"));
  CONFORM_STEP(machine->reach(1));
  const auto breakpoint = machine->mailbox().result[0];
  const auto watched = machine->mailbox().result[1];
  // DR0 executes, DR1 writes 8 bytes
  DebugControl control{.hardware_breakpoints = true, .address = {breakpoint, watched, 0, 0}, .dr7 = 0x0090'0405};
  CONFORM_OK(machine->vcpu().set_debug(control));
  Debug debug;
  CONFORM_STEP(next_debug(*machine, debug));
  CONFORM(debug.instruction_pointer == breakpoint, "stopped at {:#x}, wanted {:#x}", debug.instruction_pointer,
          breakpoint);
  CONFORM((debug.dr6 & 0xf) == 1, "DR6 is {:#x}, wanted B0", debug.dr6);
  control.dr7 = 0x0090'0404;  // the watchpoint only, to get past the breakpoint
  CONFORM_OK(machine->vcpu().set_debug(control));
  CONFORM_STEP(next_debug(*machine, debug));
  CONFORM((debug.dr6 & 0xf) == 2, "DR6 is {:#x}, wanted B1", debug.dr6);
  CONFORM_STEP(machine->reach(2));  // neither the read nor the neighbour stopped it
  CONFORM_OK(machine->vcpu().set_debug({}));
  return machine->finish();
}

Outcome breakpoints_software(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "breakpoints_software"));
  CONFORM_STEP(machine->reach(1));
  CONFORM_OK(machine->vcpu().set_debug({.software_breakpoints = true}));
  Debug debug;
  CONFORM_STEP(next_debug(*machine, debug));
  CONFORM(debug.software_breakpoint, "not told as a software breakpoint");
  CONFORM_ASSIGN(auto registers, machine->vcpu().registers());
  CONFORM(machine->ram()[debug.instruction_pointer] == std::byte{0xcc}, "{:#x} is not the INT3",
          debug.instruction_pointer);
  registers.rip = debug.instruction_pointer + 1;
  CONFORM_OK(machine->vcpu().set_registers(registers));
  CONFORM_STEP(machine->reach(2));
  CONFORM_OK(machine->vcpu().set_debug({}));
  return machine->finish();
}

}  // namespace conformance
