// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

// Both ways: the guest loads known values and the host reads them; the host writes others and the guest stores them.
// The host moves the guest on by setting rip to registers_store.
extern "C" void registers_load();
extern "C" void registers_store();

asm(R"(
  .pushsection .text
  .globl registers_load, registers_store
registers_load:
  movabsq $0x1111111111111101, %rbx
  movabsq $0x1111111111111102, %rcx
  movabsq $0x1111111111111104, %rsi
  movabsq $0x1111111111111105, %rdi
  movabsq $0x1111111111111107, %rbp
  movabsq $0x1111111111111108, %r8
  movabsq $0x1111111111111109, %r9
  movabsq $0x111111111111110a, %r10
  movabsq $0x111111111111110b, %r11
  movabsq $0x111111111111110c, %r12
  movabsq $0x111111111111110d, %r13
  movabsq $0x111111111111110e, %r14
  movabsq $0x111111111111110f, %r15
  movl $1, %eax
  movl $0x5608, %edx
  stc
  outl %eax, %dx
1:
  jmp 1b
registers_store:
  pushfq
  movq %rax, 0x5100
  movq %rbx, 0x5108
  movq %rcx, 0x5110
  movq %rdx, 0x5118
  movq %rsi, 0x5120
  movq %rdi, 0x5128
  movq %rbp, 0x5130
  movq %r8, 0x5138
  movq %r9, 0x5140
  movq %r10, 0x5148
  movq %r11, 0x5150
  movq %r12, 0x5158
  movq %r13, 0x5160
  movq %r14, 0x5168
  movq %r15, 0x5170
  popq %rax
  movq %rax, 0x5178
  movq %rsp, 0x5180
  movq %cr2, %rax
  movq %rax, 0x5188
  movq %cr8, %rax
  movq %rax, 0x5190
  movq %fs:0, %rax
  movq %rax, 0x5198
  movq %gs:8, %rax
  movq %rax, 0x51a0
  movl $2, %eax
  movl $0x5608, %edx
  outl %eax, %dx
1:
  jmp 1b
  .popsection
)");

namespace guest {

static_assert(offsetof(trivet_guest::Mailbox, result) == 0x100, "registers_store writes there");

void registers(const BootInfo&) {
  mailbox().result[30] = reinterpret_cast<std::uint64_t>(registers_store);
  registers_load();
}

}  // namespace guest
