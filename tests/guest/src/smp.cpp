// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "smp.hpp"

#include "cpu.hpp"
#include "interrupts.hpp"
#include "lapic.hpp"

extern "C" {
extern const unsigned char trampoline_begin[];
extern const unsigned char trampoline_end[];
extern unsigned char guest_end[];
void* memcpy(void* to, const void* from, std::size_t count);

std::uint32_t ap_next_index = 1;
std::uint64_t ap_stacks = 0;
}

namespace guest {
namespace {

constexpr std::uint64_t trampoline_page = 0x8000;
constexpr std::uint32_t init_command = 0x4500;
constexpr std::uint32_t startup_command = 0x4600 | (trampoline_page >> 12);
constexpr std::uint64_t patience = 400'000'000;  // TSC ticks: a tenth of a second or more

ApWork ap_work = nullptr;
std::uint32_t ap_arrived = 0;

bool wait_for(std::uint32_t count) {
  std::uint64_t start = rdtsc();
  while (__atomic_load_n(&ap_arrived, __ATOMIC_ACQUIRE) < count) {
    if (rdtsc() - start > patience) return false;
    pause();
  }
  return true;
}

}  // namespace

extern "C" [[noreturn]] void ap_main(std::uint32_t number) {
  interrupts_load();
  __atomic_fetch_add(&ap_arrived, 1, __ATOMIC_ACQ_REL);
  if (ap_work != nullptr) ap_work(number);
  halt_forever();
}

std::size_t start_processors(const BootInfo& info, const std::uint32_t* apic_ids, std::size_t count, ApWork work) {
  std::uint64_t stacks = reinterpret_cast<std::uint64_t>(guest_end);
  if (count < 2 || !info.is_ram(trampoline_page, 4096) || !info.is_ram(stacks, (count - 1) * 4096)) return 0;
  ap_stacks = stacks;
  ap_work = work;
  static unsigned char saved[256];
  auto* page = reinterpret_cast<unsigned char*>(trampoline_page);
  auto size = static_cast<std::size_t>(trampoline_end - trampoline_begin);
  memcpy(saved, page, size);
  memcpy(page, trampoline_begin, size);

  std::uint32_t self = lapic_id();
  std::uint32_t others = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (apic_ids[i] == self) continue;
    ++others;
    lapic_send(apic_ids[i], init_command);
    lapic_send(apic_ids[i], startup_command);
  }
  if (!wait_for(others)) {  // the second SIPI of the protocol: only a processor still waiting takes it
    for (std::size_t i = 0; i < count; ++i) {
      if (apic_ids[i] != self) lapic_send(apic_ids[i], startup_command);
    }
    wait_for(others);
  }
  std::uint32_t arrived = __atomic_load_n(&ap_arrived, __ATOMIC_ACQUIRE);
  if (arrived == others) memcpy(page, saved, size);  // else a late one may still need it
  return arrived;
}

}  // namespace guest
