// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <string>

#include <trivet/core/address.hpp>
#include <trivet/core/hypervisor.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/vm.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/vmm/fw_cfg.hpp>
#include <trivet/vmm/loader/image.hpp>
#include <trivet/vmm/platform_info.hpp>
#include <trivet/vmm/rtc.hpp>

namespace trivet::vmm {

/// A machine's own firmware: a flat ROM image that ends at 4 GiB, where the first vCPU starts.
/// Thread rule: one thread at a time.
class Firmware {
 public:
  static constexpr std::uint64_t most = std::uint64_t{16} << 20;  ///< bytes

  /// `invalid_argument` when it is empty, not whole pages or larger than `most`; errors of `Image::open` (caller).
  static Result<Firmware> open(const std::string& path);

  [[nodiscard]] GuestRange range() const noexcept;

  /// Puts it there, so that the guest's writes change nothing where the hypervisor can execute from such memory, else
  /// as RAM. All of it, or the last 128 KiB if it is larger than 256, is also below 1 MiB, as RAM: what a board's
  /// shadow RAM is after it was unlocked. The guest's RAM is in `memory` already. Errors as `Vm::map`.
  Result<void> map(Vm& vm, const Hypervisor& hypervisor, memory::MemoryMap& memory) const;

 private:
  explicit Firmware(Image image) : image_(std::move(image)) {}

  Image image_;
};

/// What firmware for QEMU's machines asks for: RAM, processors, ACPI tables, and that its screen is the serial port.
/// Errors as `ram_ranges` and `loadable_acpi_tables`.
Result<void> describe_machine(FwCfg& to, const PlatformInfo& platform);

/// The same where firmware without FwCfg looks: the memory's size and the number of processors in the clock's memory.
/// Errors as `ram_ranges`. Source: SeaBIOS, src/hw/rtc.h.
Result<void> describe_machine(Rtc& to, const PlatformInfo& platform);

}  // namespace trivet::vmm
