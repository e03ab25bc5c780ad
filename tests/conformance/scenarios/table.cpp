// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

namespace conformance {
namespace {

using trivet::Cap;

// Most of them use the LAPIC or stop the vCPU to look at it; those name what they need.
const std::vector<Scenario>& table() {
  static const std::vector<Scenario> scenarios{
      {"port_io", port_io, {Cap::port_io}},
      {"port_string", port_string, {Cap::port_io}},
      {"memory_io", memory_io, {}},
      {"memory_string", memory_string, {}},
      {"memory_modify", memory_modify, {}},
      {"page_crossing", page_crossing, {}},
      {"holes", holes, {Cap::port_io}},
      {"read_only_memory", read_only_memory, {Cap::read_only_memory}},
      {"read_only_code", read_only_code, {Cap::read_only_memory, Cap::read_only_code}},
      {"map_while_running", map_while_running, {}},
      {"memory_sources", memory_sources, {}},
      {"dirty_log", dirty_log, {Cap::dirty_log}},
      {"dirty_ring", dirty_ring, {Cap::dirty_ring}},
      {"doorbell_memory", doorbell_memory, {Cap::doorbells}},
      {"doorbell_port", doorbell_port, {Cap::doorbells_pio}},
      {"posted_writes", posted_writes, {Cap::posted_writes}},
      {"line_edge", line_edge, {Cap::irqchip_full, Cap::lines}},
      {"line_level", line_level, {Cap::irqchip_full, Cap::lines}},
      {"line_resample", line_resample, {Cap::irqchip_full, Cap::lines, Cap::resample}},
      {"msi", msi, {Cap::msi}},
      {"split_irqchip", split_irqchip, {Cap::irqchip_split, Cap::msi}},
      {"legacy_timer", legacy_timer, {Cap::port_io, Cap::external_interrupts}},
      {"multi_vcpu", multi_vcpu, {Cap::vcpu_state}},
      {"kick_before_run", kick_before_run, {}},
      {"kick_halted", kick_halted, {}},
      {"kick_signal", kick_signal, {}, 60},
      {"kick_stress", kick_stress, {}, 200},
      {"registers", registers, {Cap::vcpu_state}},
      {"state_elements", state_elements, {Cap::vcpu_state}},
      {"save_restore", save_restore, {Cap::vcpu_state}},
      {"reset", reset, {Cap::vcpu_state}},
      {"clock", clock, {Cap::clock}},
      {"single_step", single_step, {Cap::single_step}},
      {"breakpoints_hardware", breakpoints_hardware, {Cap::breakpoints}},
      {"breakpoints_software", breakpoints_software, {Cap::software_breakpoints}},
      {"cpuid", cpuid, {Cap::cpuid}},
      {"msr_round_trip", msr_round_trip, {Cap::vcpu_state}},
      {"msr_exits", msr_exits, {Cap::msr_exits}},
      {"nmi", nmi, {Cap::nmi}},
      {"exceptions", exceptions, {Cap::exceptions}},
      {"translate", translate, {Cap::translate}},
      {"halt", halt, {Cap::halt_exits}},
      {"triple_fault", triple_fault, {}},
      {"wrong_state", wrong_state, {Cap::own_vcpu_threads}},
      {"refusals", refusals, {}},
  };
  return scenarios;
}

}  // namespace

std::span<const Scenario> all_scenarios() {
  return table();
}

Outcome check_needs(const trivet::Hypervisor& hypervisor, std::span<const Cap> needs) {
  for (const auto cap : needs) {
    if (hypervisor.supports(cap) == trivet::Support::no) {
      return unsupported(fmt::format("capability {} is no", trivet::to_string(cap)));
    }
  }
  return passed();
}

}  // namespace conformance
