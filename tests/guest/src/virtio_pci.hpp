// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// virtio over PCI (virtio 1.2, 4.1), modern only, with one MSI-X vector for all queues.
#pragma once

#include "pci.hpp"
#include "virtio.hpp"

namespace guest {

class VirtioPci final : public VirtioTransport {
 public:
  /// False where no modern virtio function is there.
  bool find(PciFunction where);
  /// Where its structures are.
  std::uint64_t bar() const { return bar_; }

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
  bool start_interrupts() override;
  bool took_interrupt() override;
  void stop() override;

 private:
  static constexpr std::uint32_t most_queues = 4;

  void read_capability(std::uint32_t at);
  std::uint64_t address_of(std::uint32_t bar, std::uint32_t offset) const;
  void set_address(std::uint32_t offset, const void* address);

  PciFunction where_{};
  std::uint64_t bar_ = 0;
  std::uint64_t common_ = 0, notify_ = 0, device_ = 0, table_ = 0;
  std::uint64_t doorbells_[most_queues] = {};
  std::uint32_t multiplier_ = 0;
  std::uint32_t msix_ = 0;
  std::uint32_t selected_ = 0;
};

}  // namespace guest
