// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/backend_registry.hpp>
#include <trivet/core/result.hpp>
#include <trivet/vmm/config.hpp>
#include <trivet/vmm/outcome.hpp>

namespace trivet::vmm {

/// Which VM a device model serves, and with what.
struct DeviceModelConfig {
  std::string hypervisor = "xen";
  std::uint64_t id = 0;  ///< as the hypervisor numbers its VMs; Xen: the domain
  std::uint8_t first_device =
      16;  ///< of PCI bus 0, 1 to 31: where the virtio devices go, beside other servers' devices
  std::vector<BlockConfig> block;
  std::vector<ConsoleConfig> console;
  std::vector<RngConfig> rng;
  std::vector<NetConfig> net;
};

/// Serves virtio devices to a VM that a toolstack made (P9): each is a PCI function with MSI-X on bus 0, beside
/// whatever else serves that VM. It owns no vCPU and no memory: it maps the guest's, takes the accesses to its own
/// functions, and leaves nothing behind. Once made it can reach that VM on the hypervisor, and no other.
///
/// The VM must not have started, since it looks for its devices once: make it paused (`xl create -p`). A PVH guest is
/// given a PCI host in its ACPI tables, which its toolstack leaves out (see `graft_pci_host`). An HVM guest has one,
/// and its firmware places our BARs. The guest keeps the memory that it has then: no ballooning.
/// Thread rule: as Machine.
class DeviceModel {
 public:
  /// Errors name the option, the VM or the file: those of `BackendRegistry::select`, `Hypervisor::attach`,
  /// `graft_pci_host` and the devices; `not_found` when the VM has no memory.
  static Result<std::unique_ptr<DeviceModel>> create(const DeviceModelConfig& config, const BackendRegistry& registry);
  /// Stops, and waits.
  ~DeviceModel();

  /// Serves from now on: the VM may run. `bad_state` the second time (caller); `limit` when there are no threads
  /// (host).
  Result<void> start();
  /// Asks for the end; returns at once. The VM goes on without its devices.
  void stop() noexcept;
  /// Waits for the VM's end or for `stop`, then lets go of the VM.
  Outcome wait();

  /// One line for each device, as "block 0: virtio-pci at 00:10.0, /path".
  [[nodiscard]] std::vector<std::string> devices() const;
  /// Of the guest's memory, MiB.
  [[nodiscard]] std::uint64_t memory_mib() const;
  [[nodiscard]] boost::asio::any_io_executor executor() const noexcept;

 private:
  struct Impl;
  explicit DeviceModel(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace trivet::vmm
