// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// 256 interrupt stubs and the way back. The way back uses no IRET, on any hypervisor: one of the machines that
// must run this guest has none outside real mode. Same privilege only: popf and ret do the same work there.
//
// Stack in the common part, upwards: r15..rax (15), vector, error, rip, cs, rflags, rsp, ss.

  .section .text, "ax", @progbits
  .code64
  .balign 16
  .globl interrupt_stubs
interrupt_stubs:
  .set vector, 0
  .rept 256
  .balign 16
  .set has_error, (vector == 8) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
  .if !(has_error || ((vector >= 10) && (vector <= 14)))
  pushq $0
  .endif
  pushq $vector
  jmp interrupt_common
  .set vector, vector + 1
  .endr

interrupt_common:
  pushq %rax
  pushq %rcx
  pushq %rdx
  pushq %rbx
  pushq %rbp
  pushq %rsi
  pushq %rdi
  pushq %r8
  pushq %r9
  pushq %r10
  pushq %r11
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  cld
  movq %rsp, %rdi
  movq %rsp, %rbp           // the processor aligned the frame: 22 words below a 16-byte boundary
  andq $-16, %rsp
  call interrupt_dispatch
  movq %rbp, %rsp
  movq 160(%rsp), %rax      // rsp of the interrupted code
  movq 136(%rsp), %rcx      // rip
  movq 152(%rsp), %rdx      // rflags
  subq $16, %rax
  movq %rax, 128(%rsp)      // where the two words go; over the error code, which nobody needs now
  movq %rdx, (%rax)
  movq %rcx, 8(%rax)
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %r11
  popq %r10
  popq %r9
  popq %r8
  popq %rdi
  popq %rsi
  popq %rbp
  popq %rbx
  popq %rdx
  popq %rcx
  popq %rax
  addq $8, %rsp             // vector
  popq %rsp
  popfq
  ret
  .section .note.GNU-stack, "", @progbits
