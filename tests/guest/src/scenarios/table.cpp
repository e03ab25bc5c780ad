// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

namespace guest {
namespace {

const Scenario scenarios[] = {
    {"breakpoints_hardware", breakpoints_hardware},
    {"breakpoints_software", breakpoints_software},
    {"clock", clock},
    {"cpuid_as_set", cpuid_as_set},
    {"dirty_log", dirty_log},
    {"doorbell_memory", doorbell_memory},
    {"doorbell_port", doorbell_port},
    {"exceptions", exceptions},
    {"halt", halt},
    {"holes", holes},
    {"kick_halted", kick_halted},
    {"kick_target", kick_target},
    {"legacy_timer", legacy_timer},
    {"line_edge", line_edge},
    {"line_level", line_level},
    {"line_resample", line_resample},
    {"map_while_running", map_while_running},
    {"memory_io", memory_io},
    {"memory_modify", memory_modify},
    {"memory_sources", memory_sources},
    {"memory_string", memory_string},
    {"msi", msi},
    {"msr_exits", msr_exits},
    {"msr_round_trip", msr_round_trip},
    {"multi_vcpu", multi_vcpu},
    {"nmi", nmi},
    {"page_crossing", page_crossing},
    {"port_io", port_io},
    {"port_string", port_string},
    {"posted_writes", posted_writes},
    {"read_only_code", read_only_code},
    {"read_only_memory", read_only_memory},
    {"registers", registers},
    {"reset", reset},
    {"save_restore", save_restore},
    {"single_step", single_step},
    {"state_elements", state_elements},
    {"translate", translate},
    {"triple_fault", triple_fault},
    {"wrong_state", wrong_state},
};

}  // namespace

const Scenario* find_scenario(Text name) {
  for (const Scenario& scenario : scenarios) {
    if (scenario.name == name) return &scenario;
  }
  return nullptr;
}

}  // namespace guest
