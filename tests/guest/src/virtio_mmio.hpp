// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// virtio over MMIO (virtio 1.2, 4.2), without interrupts.
#pragma once

#include "acpi.hpp"
#include "virtio.hpp"

namespace guest {

class VirtioMmio final : public VirtioTransport {
 public:
  /// False where nothing modern answers there.
  bool find(const MmioDevice& where);

  std::uint32_t id() override;
  std::uint32_t offered(std::uint32_t page) override;
  void accept(std::uint32_t page, std::uint32_t features) override;
  std::uint32_t status() override;
  void set_status(std::uint32_t value) override;
  std::uint32_t select_queue(std::uint32_t index) override;
  bool enable_queue(std::uint16_t size, const void* descriptors, const void* driver, const void* device) override;
  void notify(std::uint32_t queue) override;
  std::uint32_t config32(std::uint32_t offset) override;
  std::uint32_t generation() override;
  bool start_interrupts() override { return false; }
  bool took_interrupt() override { return false; }
  void stop() override;

 private:
  std::uint32_t reg(std::uint32_t offset) const;
  void set_reg(std::uint32_t offset, std::uint32_t value);
  void set_address(std::uint32_t offset, const void* address);

  std::uint64_t base_ = 0;
};

}  // namespace guest
