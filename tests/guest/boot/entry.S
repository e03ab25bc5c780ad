// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// PVH entry: 32-bit flat protected mode, paging off, ebx = hvm_start_info. Goes to long mode and to guest_main.

  .section .note.pvh, "a", @note
  .balign 4
  .long 4                   // name size
  .long 8                   // descriptor size
  .long 18                  // XEN_ELFNOTE_PHYS32_ENTRY
  .asciz "Xen"
  .quad guest_entry

  .section .text.boot, "ax", @progbits
  .code32
  .globl guest_entry
guest_entry:
  cli
  cld
  lgdt boot_gdt_pointer
  movl $boot_stack_top, %esp
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
  orl $0x80000001, %eax     // PG, PE
  andl $0x9fffffff, %eax    // CD and NW off
  movl %eax, %cr0
  ljmp $0x08, $entry_long

  .code64
entry_long:
  movl $0x10, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  xorl %eax, %eax
  movl %eax, %fs
  movl %eax, %gs
  movl $boot_stack_top, %esp
  movl %ebx, %edi
  xorl %ebp, %ebp
  call guest_main
1:
  cli
  hlt
  jmp 1b

  .section .data, "aw", @progbits
  .balign 16
  .globl boot_gdt, boot_gdt_pointer
boot_gdt:
  .quad 0
  .quad 0x00af9b000000ffff  // 0x08: 64-bit code
  .quad 0x00cf93000000ffff  // 0x10: data
  .quad 0x00cf9b000000ffff  // 0x18: 32-bit code
boot_gdt_end:
boot_gdt_pointer:
  .word boot_gdt_end - boot_gdt - 1
  .long boot_gdt
  .long 0

  .section .bss, "aw", @nobits
  .balign 4096
boot_stack:
  .skip 16384
boot_stack_top:
  .section .note.GNU-stack, "", @progbits
