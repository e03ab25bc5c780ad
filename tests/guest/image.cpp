// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "guest_image.hpp"

// Page aligned, so that a loader may map what it would otherwise copy.
__asm__(
    ".pushsection .rodata\n"
    ".balign 4096\n"
    ".globl trivet_guest_image_begin\n"
    ".hidden trivet_guest_image_begin\n"
    "trivet_guest_image_begin:\n"
    ".incbin \"" TRIVET_GUEST_ELF
    "\"\n"
    ".globl trivet_guest_image_end\n"
    ".hidden trivet_guest_image_end\n"
    "trivet_guest_image_end:\n"
    ".byte 0\n"
    ".popsection\n");

extern "C" const std::byte trivet_guest_image_begin[];
extern "C" const std::byte trivet_guest_image_end[];

std::span<const std::byte> builtin_guest_image() noexcept {
  return {trivet_guest_image_begin, trivet_guest_image_end};
}
