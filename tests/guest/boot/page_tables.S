// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Identity map of the first 4 GiB in 2 MiB pages, ready in the image: building it at run time would cost the
// slowest machine (2.4 M instructions/s) several milliseconds. The fourth GiB holds devices: not cached.
// Entries are marked accessed and dirty so that no walk writes to them.

  .section .data.pages, "aw", @progbits
  .balign 4096
  .globl boot_pml4, boot_pdpt, spare_directory
boot_pml4:
  .quad boot_pdpt + 0x23
  .fill 511, 8, 0
boot_pdpt:
  .quad boot_directories + 0x23
  .quad boot_directories + 0x1023
  .quad boot_directories + 0x2023
  .quad boot_directories + 0x3023
  .fill 508, 8, 0
boot_directories:
  .set address, 0
  .rept 1536
  .quad address + 0xe3
  .set address, address + 0x200000
  .endr
  .rept 512
  .quad address + 0xfb
  .set address, address + 0x200000
  .endr

  .section .bss, "aw", @nobits
  .balign 4096
spare_directory:            // maps one GiB above 4 GiB on demand
  .skip 4096
  .section .note.GNU-stack, "", @progbits
