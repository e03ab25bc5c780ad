// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>
#include <trivet/vmm/loader/bzimage.hpp>
#include <trivet/vmm/loader/memory_map.hpp>

namespace trivet::vmm {

/// What either boot protocol tells a kernel.
struct BootInfo {
  std::span<const MemoryMapEntry> memory_map;
  std::string_view command_line;
  std::optional<GuestRange> initrd;
  std::optional<GuestAddress> rsdp;  ///< ACPI's root pointer
};

/// Writes the command line with its closing zero where the layout says. `limit` (caller): longer than its room;
/// `out_of_range`: no memory there. Any thread, as the others here.
Result<void> write_command_line(const memory::GuestMemory& memory, std::string_view text);

/// Writes hvm_start_info version 1, module list and memory map for PVH. `limit` (caller): more entries than its page
/// holds; `out_of_range`. Source: xen/include/public/arch-x86/hvm/start_info.h.
Result<void> write_start_info(const memory::GuestMemory& memory, const BootInfo& info);

/// Writes boot_params (the zero page) for Linux's 64-bit boot protocol. `kernel` is the bzImage whose header goes in,
/// or null for an ELF. Errors as `write_start_info`. Source: Linux, Documentation/arch/x86/zero-page.rst.
Result<void> write_boot_params(const memory::GuestMemory& memory, const BootInfo& info, const BzImage* kernel);

}  // namespace trivet::vmm
