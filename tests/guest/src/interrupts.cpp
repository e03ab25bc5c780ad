// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "interrupts.hpp"

#include "finish.hpp"
#include "text.hpp"

extern "C" const unsigned char interrupt_stubs[];

namespace guest {
namespace {

struct Gate {
  std::uint16_t offset_low;
  std::uint16_t selector;
  std::uint16_t flags;
  std::uint16_t offset_middle;
  std::uint32_t offset_high;
  std::uint32_t reserved;
};
static_assert(sizeof(Gate) == 16);

struct [[gnu::packed]] TablePointer {
  std::uint16_t limit;
  const void* base;
};

constexpr int exceptions = 32;
constexpr std::uint16_t present_interrupt_gate = 0x8e00;

alignas(16) Gate gates[256];
InterruptHandler handlers[256];

void install_gate(std::uint8_t vector) {
  auto stub = reinterpret_cast<std::uint64_t>(interrupt_stubs) + std::uint64_t{vector} * 16;
  gates[vector] = {
      static_cast<std::uint16_t>(stub),       0x08, present_interrupt_gate, static_cast<std::uint16_t>(stub >> 16),
      static_cast<std::uint32_t>(stub >> 32), 0};
}

}  // namespace

void interrupts_load() {
  TablePointer pointer{sizeof gates - 1, gates};
  asm volatile("lidt %0" ::"m"(pointer) : "memory");
}

void interrupts_start() {
  for (int vector = 0; vector < exceptions; ++vector) install_gate(static_cast<std::uint8_t>(vector));
  interrupts_load();
}

void set_handler(std::uint8_t vector, InterruptHandler handler) {
  handlers[vector] = handler;
  install_gate(vector);
}

extern "C" void interrupt_dispatch(InterruptFrame* frame) {
  InterruptHandler handler = handlers[frame->vector & 0xff];
  if (handler != nullptr) {
    handler(*frame);
    return;
  }
  std::uint64_t cr2;
  asm volatile("movq %%cr2, %0" : "=r"(cr2));
  print_line("guest: unexpected interrupt ", frame->vector, " error ", Hex{frame->error}, " at ", Hex{frame->rip},
             " rsp ", Hex{frame->rsp}, " cr2 ", Hex{cr2});
  finish_failed(static_cast<std::uint32_t>(0x10000 + frame->vector));
}

}  // namespace guest
