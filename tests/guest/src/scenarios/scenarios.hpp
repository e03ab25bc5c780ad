// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Every scenario, by its name on the command line.
#pragma once

#include "scenario.hpp"

namespace guest {

void breakpoints_hardware(const BootInfo&);
void breakpoints_software(const BootInfo&);
void clock(const BootInfo&);
void cpuid_as_set(const BootInfo&);
void dirty_log(const BootInfo&);
void doorbell_memory(const BootInfo&);
void doorbell_port(const BootInfo&);
void exceptions(const BootInfo&);
void halt(const BootInfo&);
void holes(const BootInfo&);
void kick_halted(const BootInfo&);
void kick_target(const BootInfo&);
void legacy_timer(const BootInfo&);
void line_edge(const BootInfo&);
void line_level(const BootInfo&);
void line_resample(const BootInfo&);
void map_while_running(const BootInfo&);
void memory_io(const BootInfo&);
void memory_modify(const BootInfo&);
void memory_sources(const BootInfo&);
void memory_string(const BootInfo&);
void msi(const BootInfo&);
void msr_exits(const BootInfo&);
void msr_round_trip(const BootInfo&);
void multi_vcpu(const BootInfo&);
void nmi(const BootInfo&);
void page_crossing(const BootInfo&);
void port_io(const BootInfo&);
void port_string(const BootInfo&);
void posted_writes(const BootInfo&);
void read_only_code(const BootInfo&);
void read_only_memory(const BootInfo&);
void registers(const BootInfo&);
void reset(const BootInfo&);
void save_restore(const BootInfo&);
void single_step(const BootInfo&);
void state_elements(const BootInfo&);
void translate(const BootInfo&);
void triple_fault(const BootInfo&);
void wrong_state(const BootInfo&);

}  // namespace guest
