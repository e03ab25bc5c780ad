// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>

#include <trivet/core/io_handler.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/vmm/bus.hpp>
#include <trivet/vmm/ioapic.hpp>
#include <trivet/vmm/pci_host.hpp>

namespace trivet::vmm {

/// One runner's way to the buses: each runner has its own, so that counting shares no cache line between vCPUs.
///
/// What nobody claims reads all ones, drops writes, and is counted. Thread rule: as IoHandler; the counts from any
/// thread.
class BusIo final : public IoHandler {
 public:
  /// What it leads to; outlives it. The buses are sealed.
  struct Targets {
    const Bus& ports;
    const Bus& addresses;
    const PciHost* pci = nullptr;         ///< null where there is none
    memory::MemoryMap* memory = nullptr;  ///< whose windows are dropped when the guest gives pages up; may be null
    IoApic* ioapic = nullptr;             ///< null where the hypervisor has it, or there is none
    Pic* pic = nullptr;                   ///< the same
  };

  explicit BusIo(const Targets& targets) noexcept : targets_(targets) {}

  void pio_read(std::uint16_t port, Bytes data) noexcept override;
  void pio_write(std::uint16_t port, ConstBytes data) noexcept override;
  void mmio_read(GuestAddress at, Bytes data) noexcept override;
  void mmio_write(GuestAddress at, ConstBytes data, Posted posted) noexcept override;
  void pci_config_read(const PciAddress& function, std::uint16_t offset, Bytes data) noexcept override;
  void pci_config_write(const PciAddress& function, std::uint16_t offset, ConstBytes data) noexcept override;
  void pages_removed() noexcept override;
  void end_of_interrupt(std::uint8_t vector) noexcept override;
  std::optional<std::uint8_t> acknowledge_interrupt() noexcept override;

  /// All accesses so far, and those that nobody claimed.
  [[nodiscard]] std::uint64_t accesses() const noexcept { return accesses_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t unclaimed() const noexcept { return unclaimed_.load(std::memory_order_relaxed); }

 private:
  // One writer, so a plain add through the atomic; readers see some recent value.
  static void count(std::atomic<std::uint64_t>& counter) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  void read(const Bus& bus, std::uint64_t at, Bytes data) noexcept;
  void write(const Bus& bus, std::uint64_t at, ConstBytes data) noexcept;

  Targets targets_;
  std::atomic<std::uint64_t> accesses_{0};
  std::atomic<std::uint64_t> unclaimed_{0};
};

}  // namespace trivet::vmm
