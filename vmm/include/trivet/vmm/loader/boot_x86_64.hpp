// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <optional>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>
#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/loader/boot_registers_x86_64.hpp>
#include <trivet/vmm/loader/command_line.hpp>
#include <trivet/vmm/loader/image.hpp>
#include <trivet/vmm/loader/kernel_image.hpp>
#include <trivet/vmm/platform_info.hpp>

namespace trivet::vmm {

/// What a guest is booted from.
struct BootSource {
  KernelImage kernel;
  std::optional<Image> initrd;
  CommandLine command_line;
  GuestAddress load_address = layout::kernel;  ///< `himem_start`: see `KernelImage::load`
  std::optional<BootProtocol> protocol;        ///< none: the kernel's own choice
  bool fresh_memory = false;                   ///< the guest's RAM was never written and reads zero
};

/// A guest that is ready to run.
struct BootState {
  BootRegisters registers;  ///< the boot vCPU's; the others wait for their start-up interrupt
  BootProtocol protocol = BootProtocol::pvh;
  GuestAddress entry;
  GuestRange kernel;
  std::optional<GuestRange> initrd;
  std::optional<GuestAddress> rsdp;
};

/// Fills guest memory with all that a guest needs to boot: kernel, initial RAM disk, command line, ACPI tables, memory
/// map, and what its boot protocol wants.
///
/// Errors name the file or thing: those of `KernelImage::load`, `load_initrd`, `acpi_tables` and `memory_map`; `limit`
/// (caller) when the command line is longer than the kernel takes; `invalid_argument` (caller) when `memory` lacks some
/// of the platform's RAM. After an error the memory is half written. No vCPU may run. Any thread.
Result<BootState> load_boot(const BootSource& source, const memory::GuestMemory& memory, const PlatformInfo& platform);

}  // namespace trivet::vmm
