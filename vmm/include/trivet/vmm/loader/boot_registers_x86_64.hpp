// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/registers_x86_64.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>

namespace trivet::vmm {

/// What the boot vCPU starts with.
struct BootRegisters {
  GeneralRegisters general;
  SystemRegisters system;
};

/// 32-bit protected mode, flat segments, paging and interrupts off, ebx = the start info.
/// Source: xen/docs/misc/pvh.pandoc. Any thread.
[[nodiscard]] BootRegisters pvh_registers(GuestAddress entry, GuestAddress start_info);

/// Long mode over the tables that `write_long_mode_tables` makes, interrupts off, rsi = the zero page.
/// Source: Linux, Documentation/arch/x86/boot.rst, 64-bit boot protocol. Any thread.
[[nodiscard]] BootRegisters linux_64_registers(GuestAddress entry, GuestAddress boot_params);

/// What a processor starts with: real mode, 16 bytes below 4 GiB, so that the boot vCPU starts where its firmware does.
/// Source: Intel SDM volume 3, table 9-1. Any thread.
[[nodiscard]] BootRegisters reset_registers();

/// Writes the GDT and page tables that map the first 4 GiB one to one, in 2 MiB pages. `out_of_range`: no memory where
/// the layout puts them. Any thread.
Result<void> write_long_mode_tables(const memory::GuestMemory& memory);

/// What firmware sets on every vCPU before a kernel runs: all memory is write-back unless the page tables say
/// otherwise. Source: Intel SDM volume 3, 12.11.2.1 (IA32_MTRR_DEF_TYPE). Any thread.
[[nodiscard]] std::vector<MsrValue> firmware_msrs();

}  // namespace trivet::vmm
