// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Every scenario; the table gives each its name, what it needs and how long it may take.
#pragma once

#include "scenario.hpp"

namespace conformance {

Outcome breakpoints_hardware(trivet::Hypervisor& hypervisor);
Outcome breakpoints_software(trivet::Hypervisor& hypervisor);
Outcome clock(trivet::Hypervisor& hypervisor);
Outcome cpuid(trivet::Hypervisor& hypervisor);
Outcome dirty_log(trivet::Hypervisor& hypervisor);
Outcome dirty_ring(trivet::Hypervisor& hypervisor);
Outcome doorbell_memory(trivet::Hypervisor& hypervisor);
Outcome doorbell_port(trivet::Hypervisor& hypervisor);
Outcome exceptions(trivet::Hypervisor& hypervisor);
Outcome halt(trivet::Hypervisor& hypervisor);
Outcome holes(trivet::Hypervisor& hypervisor);
Outcome kick_before_run(trivet::Hypervisor& hypervisor);
Outcome kick_halted(trivet::Hypervisor& hypervisor);
Outcome kick_signal(trivet::Hypervisor& hypervisor);
Outcome kick_stress(trivet::Hypervisor& hypervisor);
Outcome legacy_timer(trivet::Hypervisor& hypervisor);
Outcome line_edge(trivet::Hypervisor& hypervisor);
Outcome line_level(trivet::Hypervisor& hypervisor);
Outcome line_resample(trivet::Hypervisor& hypervisor);
Outcome map_while_running(trivet::Hypervisor& hypervisor);
Outcome memory_io(trivet::Hypervisor& hypervisor);
Outcome memory_modify(trivet::Hypervisor& hypervisor);
Outcome memory_sources(trivet::Hypervisor& hypervisor);
Outcome memory_string(trivet::Hypervisor& hypervisor);
Outcome msi(trivet::Hypervisor& hypervisor);
Outcome msr_exits(trivet::Hypervisor& hypervisor);
Outcome msr_round_trip(trivet::Hypervisor& hypervisor);
Outcome multi_vcpu(trivet::Hypervisor& hypervisor);
Outcome nmi(trivet::Hypervisor& hypervisor);
Outcome page_crossing(trivet::Hypervisor& hypervisor);
Outcome port_io(trivet::Hypervisor& hypervisor);
Outcome port_string(trivet::Hypervisor& hypervisor);
Outcome posted_writes(trivet::Hypervisor& hypervisor);
Outcome read_only_code(trivet::Hypervisor& hypervisor);
Outcome read_only_memory(trivet::Hypervisor& hypervisor);
Outcome refusals(trivet::Hypervisor& hypervisor);
Outcome registers(trivet::Hypervisor& hypervisor);
Outcome reset(trivet::Hypervisor& hypervisor);
Outcome save_restore(trivet::Hypervisor& hypervisor);
Outcome single_step(trivet::Hypervisor& hypervisor);
Outcome split_irqchip(trivet::Hypervisor& hypervisor);
Outcome state_elements(trivet::Hypervisor& hypervisor);
Outcome translate(trivet::Hypervisor& hypervisor);
Outcome triple_fault(trivet::Hypervisor& hypervisor);
Outcome wrong_state(trivet::Hypervisor& hypervisor);

}  // namespace conformance
