// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <trivet/core/hypervisor.hpp>
#include <trivet/core/interrupt_line.hpp>
#include <trivet/core/pci_address.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/core/vm.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/virtio/balloon.hpp>
#include <trivet/virtio/console.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/mmio_transport.hpp>
#include <trivet/virtio/pci_transport.hpp>
#include <trivet/vmm/bus.hpp>
#include <trivet/vmm/config.hpp>
#include <trivet/vmm/event_loop.hpp>
#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/machine.hpp>
#include <trivet/vmm/pci_host.hpp>
#include <trivet/vmm/platform_info.hpp>
#include <trivet/vmm/terminal.hpp>

#include "mapped_memory.hpp"
#include "platform_choice.hpp"

namespace trivet::vmm {

/// Where virtio devices may be.
struct VirtioPlaces {
  std::uint8_t first = 1;                     ///< on PCI: of bus 0, from this device on
  GuestRange windows = layout::virtio_mmio;   ///< on MMIO: their registers
  GuestRange memory = layout::virtio_memory;  ///< on MMIO: their shared memory,
  std::optional<GuestRange> high_memory{};    ///< and where it goes that has no room there
};

/// The machine's virtio devices: each behind the MMIO transport with a window and an interrupt of its own, or each a
/// PCI function.
/// Thread rule: one thread at a time; destroyed after the loop stopped or before it started.
class VirtioDevices {
 public:
  /// Opens what the devices stand on. Errors name the option and the file.
  static Result<std::unique_ptr<VirtioDevices>> create(const Config& config, EventLoop& loop,
                                                       std::shared_ptr<const memory::MemoryMap> memory,
                                                       const std::vector<OwnDevice>& own = {});
  ~VirtioDevices();

  /// Bytes of shared memory that they have. `unsupported` names the device that has some where the hypervisor takes
  /// none of ours.
  [[nodiscard]] Result<std::uint64_t> shared_memory(const Hypervisor& hypervisor) const;

  /// Gives each its place. `limit` when there are more than places.
  Result<void> place(VirtioTransport transport, const VirtioPlaces& places = {});

  /// Maps the shared memory of those on MMIO; on PCI that is the bus's.
  Result<void> map_shared_memory(Vm& vm);

  [[nodiscard]] bool empty() const noexcept { return slots_.empty(); }

  /// What the guest is told of those on MMIO; those on PCI it finds.
  [[nodiscard]] std::vector<VirtioMmioInfo> platform() const;

  /// Ties them to a VM: interrupts, doorbells where it has them, windows on the bus or functions on `pci`, which is
  /// there if they were placed on PCI.
  Result<void> connect(Vm& vm, IrqRouter& router, Bus& bus, PciHost* pci);

  /// Every device lets go of guest memory. While the loop runs; no vCPU may.
  void reset() noexcept;

  /// Tells the guest the sizes that the terminals behind its consoles have now, where they are others than before.
  void follow_terminals() noexcept;

  /// Null where there is none.
  [[nodiscard]] virtio::Balloon* balloon() const noexcept { return balloon_; }

  /// One line a device.
  [[nodiscard]] std::vector<std::string> descriptions() const;

 private:
  /// The transport on the bus.
  class Window final : public BusDevice {
   public:
    explicit Window(virtio::MmioTransport& transport) noexcept : transport_(transport) {}
    void read(std::uint64_t offset, Bytes data) noexcept override { transport_.read(offset, data); }
    void write(std::uint64_t offset, ConstBytes data) noexcept override { transport_.write(offset, data); }

   private:
    virtio::MmioTransport& transport_;
  };

  struct Slot {
    std::size_t index = 0;                   ///< among its kind
    std::string name;                        ///< "block 0"
    std::string what;                        ///< "/disk.img"
    UniqueFd input, output;                  ///< a console's
    std::vector<UniqueFd> files;             ///< its ports'
    std::unique_ptr<virtio::Device> device;  ///< until the transport has it
    // On MMIO:
    GuestRange range;
    std::vector<GuestAddress> shared_memory;            ///< where each region is
    std::vector<std::unique_ptr<MappedMemory>> mapped;  ///< they; before the device goes
    std::uint32_t gsi = 0;
    std::unique_ptr<InterruptLine> line;
    std::unique_ptr<virtio::MmioTransport> mmio;
    std::unique_ptr<Window> window;
    // On PCI:
    PciAddress address;
    std::unique_ptr<virtio::PciTransport> pci;
  };

  /// A console on a terminal of the host's.
  struct Screen {
    virtio::Console* console;  // in a slot
    unsigned port;             // 0: of one port, and its size is in the configuration, too
    int fd;                    // in the same slot
    TerminalSize said;
  };

  VirtioDevices(EventLoop& loop, std::shared_ptr<const memory::MemoryMap> memory)
      : loop_(loop), memory_(std::move(memory)) {}

  // The device table: a kind is one member of Config, one line in `open_all` and its `open` here.
  Result<void> open_all(const Config& config);
  Result<std::unique_ptr<virtio::Device>> open(const BlockConfig& config, Slot& slot);
  Result<std::unique_ptr<virtio::Device>> open(const ConsoleConfig& config, Slot& slot);
  Result<std::unique_ptr<virtio::Device>> open(const std::vector<PortConfig>& configs, Slot& slot);
  Result<std::unique_ptr<virtio::Device>> open(const RngConfig& config, Slot& slot);
  Result<std::unique_ptr<virtio::Device>> open(const VsockConfig& config, Slot& slot);
  Result<std::unique_ptr<virtio::Device>> open(const BalloonConfig& config, Slot& slot);
  Result<std::unique_ptr<virtio::Device>> open(const NetConfig& config, Slot& slot);
  /// Any number of them (a list), or one or none.
  template <class DeviceConfigs>
  Result<void> open_kind(const char* kind, const DeviceConfigs& configs);
  template <class DeviceConfig>
  Result<void> open_one(const char* kind, std::size_t index, const DeviceConfig& config);

  Result<void> open_own(const OwnDevice& own);
  Result<void> place_on_mmio(const VirtioPlaces& places);
  Result<void> place_shared_memory(const VirtioPlaces& places);
  Result<void> place_on_pci(std::uint8_t first);
  Result<void> connect_mmio(Slot& slot, Vm& vm, IrqRouter& router, Bus& bus);
  Result<void> connect_pci(Slot& slot, Vm& vm, IrqRouter& router, PciHost& host);
  [[nodiscard]] virtio::ErrorLog log_of(const Slot& slot) const;

  EventLoop& loop_;
  std::shared_ptr<const memory::MemoryMap> memory_;
  VirtioTransport transport_ = VirtioTransport::mmio;
  std::uint64_t withheld_features_ = 0;
  bool admin_queue_ = false;
  std::vector<Slot> slots_;
  virtio::Balloon* balloon_ = nullptr;  // in its slot
  PciHost* pci_ = nullptr;              // they are attached to it
  std::vector<Screen> screens_;
};

}  // namespace trivet::vmm
