// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The local APIC: memory-mapped, or x2APIC when that is on (or asked for).
#pragma once

#include <cstdint>

namespace guest {

enum class LapicRegister : std::uint32_t {
  id = 0x20,
  version = 0x30,
  task_priority = 0x80,
  end_of_interrupt = 0xb0,
  spurious = 0xf0,
  error = 0x280,
  command_low = 0x300,
  timer = 0x320,
  local_interrupt_0 = 0x350,
  timer_initial = 0x380,
  timer_current = 0x390,
  timer_divide = 0x3e0,
};

/// Enables this processor's LAPIC in software; `want_x2apic` switches the mode first where the processor can.
void lapic_start(bool want_x2apic);
bool lapic_is_x2apic();
std::uint32_t lapic_read(LapicRegister which);
void lapic_write(LapicRegister which, std::uint32_t value);
std::uint32_t lapic_id();
void lapic_end_of_interrupt();
/// Sends an interrupt command to one APIC id and waits until it is accepted.
void lapic_send(std::uint32_t apic_id, std::uint32_t command);

}  // namespace guest
