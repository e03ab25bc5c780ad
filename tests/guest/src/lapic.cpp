// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "lapic.hpp"

#include "cpu.hpp"

namespace guest {
namespace {

constexpr std::uint32_t apic_base_msr = 0x1b;
constexpr std::uint32_t x2apic_first_msr = 0x800;
constexpr std::uint64_t base_enabled = 1u << 11;
constexpr std::uint64_t base_x2apic = 1u << 10;

std::uint64_t base = 0xfee00000;
bool x2apic = false;

std::uint32_t msr_of(LapicRegister which) {
  return x2apic_first_msr + (static_cast<std::uint32_t>(which) >> 4);
}

}  // namespace

void lapic_start(bool want_x2apic) {
  std::uint64_t msr = rdmsr(apic_base_msr);
  bool can = (cpuid(1).ecx & (1u << 21)) != 0;
  if ((msr & base_enabled) == 0) wrmsr(apic_base_msr, msr |= base_enabled);
  if (want_x2apic && can && (msr & base_x2apic) == 0) wrmsr(apic_base_msr, msr |= base_x2apic);
  x2apic = (msr & base_x2apic) != 0;
  base = msr & 0xfffff000;
  lapic_write(LapicRegister::task_priority, 0);
  lapic_write(LapicRegister::spurious, 0x1ff);
}

bool lapic_is_x2apic() {
  return x2apic;
}

std::uint32_t lapic_read(LapicRegister which) {
  if (x2apic) return static_cast<std::uint32_t>(rdmsr(msr_of(which)));
  return read32(base + static_cast<std::uint32_t>(which));
}

void lapic_write(LapicRegister which, std::uint32_t value) {
  if (x2apic) {
    wrmsr(msr_of(which), value);
  } else {
    write32(base + static_cast<std::uint32_t>(which), value);
  }
}

std::uint32_t lapic_id() {
  std::uint32_t id = lapic_read(LapicRegister::id);
  return x2apic ? id : id >> 24;
}

void lapic_end_of_interrupt() {
  lapic_write(LapicRegister::end_of_interrupt, 0);
}

void lapic_send(std::uint32_t apic_id, std::uint32_t command) {
  if (x2apic) {
    wrmsr(msr_of(LapicRegister::command_low), std::uint64_t{apic_id} << 32 | command);
    return;
  }
  constexpr std::uint32_t delivery_pending = 1u << 12;
  write32(base + 0x310, apic_id << 24);
  write32(base + 0x300, command);
  while ((read32(base + 0x300) & delivery_pending) != 0) pause();
}

}  // namespace guest
