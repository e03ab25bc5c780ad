// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>

namespace trivet::vmm {

/// Puts at f000:fff0, where a PC's BIOS has its reset vector, what resets this machine. There is no BIOS, but Linux on
/// hardware-reduced ACPI without EFI restarts by jumping there in real mode unless its command line says otherwise
/// (arch/x86/kernel/reboot.c: BOOT_EFI, which does nothing, then BOOT_BIOS). `out_of_range`: no memory there.
Result<void> write_reset_vector(const memory::GuestMemory& memory);

}  // namespace trivet::vmm
