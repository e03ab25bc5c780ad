// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Where an application processor wakes: real mode, cs:ip = page:0. Copied to a page below 1 MiB by smp.cpp,
// which also fills in the page's address; everything here is relative to that page or absolute in the image.

  .section .rodata, "a", @progbits
  .globl trampoline_begin, trampoline_end
  .code16
trampoline_begin:
  cli
  cld
  movw %cs, %ax
  movw %ax, %ds
  lgdtl trampoline_gdt_pointer - trampoline_begin
  movl %cr0, %eax
  orl $1, %eax              // PE
  andl $0x9fffffff, %eax    // CD and NW off
  movl %eax, %cr0
  ljmpl $0x18, $trampoline_protected
  .balign 8
trampoline_gdt_pointer:
  .word 31
  .long boot_gdt
trampoline_end:

  .section .text, "ax", @progbits
  .code32
trampoline_protected:
  movl $0x10, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl %cr4, %eax
  orl $0x20, %eax           // PAE
  movl %eax, %cr4
  movl $boot_pml4, %eax
  movl %eax, %cr3
  movl $0xc0000080, %ecx    // EFER
  rdmsr
  orl $0x100, %eax          // LME
  wrmsr
  movl %cr0, %eax
  orl $0x80000000, %eax     // PG
  movl %eax, %cr0
  ljmp $0x08, $trampoline_long

  .code64
trampoline_long:
  movl $0x10, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  xorl %eax, %eax
  movl %eax, %fs
  movl %eax, %gs
  movl $1, %edi
  lock xaddl %edi, ap_next_index(%rip)  // edi = 1, 2, ...: this processor's number
  movl %edi, %eax
  shlq $12, %rax
  addq ap_stacks(%rip), %rax            // number n uses the page that ends at ap_stacks + n * 4 KiB
  movq %rax, %rsp
  xorl %ebp, %ebp
  call ap_main
1:
  cli
  hlt
  jmp 1b
  .section .note.GNU-stack, "", @progbits
