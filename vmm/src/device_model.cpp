// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <fmt/format.h>

#include <trivet/memory/memory_map.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/vmm/acpi/pci_graft.hpp>
#include <trivet/vmm/bus.hpp>
#include <trivet/vmm/device_model.hpp>
#include <trivet/vmm/event_loop.hpp>
#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/pci_host.hpp>

#include "run_gate.hpp"
#include "runner_thread.hpp"
#include "virtio_devices.hpp"

namespace trivet::vmm {
namespace {

/// Where libxl puts a PVH guest's tables (ACPI_INFO_PHYSICAL_ADDRESS), up to the special pages.
constexpr GuestRange toolstack_tables{{0xfc00'0000}, 2 * layout::mebibyte};

Config devices_of(const DeviceModelConfig& wanted) {
  Config config;
  config.block = wanted.block;
  config.console = wanted.console;
  config.rng = wanted.rng;
  config.net = wanted.net;
  return config;
}

}  // namespace

/// The order is the order of life, as in Machine.
struct DeviceModel::Impl {
  explicit Impl(const DeviceModelConfig& wanted) : config(wanted) {}

  Result<void> build(const BackendRegistry& registry);
  Result<void> map_memory();
  Result<void> connect();
  Result<void> own_bus(IoClaims& claims, const PciInfo& info);

  DeviceModelConfig config;
  RunGate gate{[this] {
    if (!vm) return;
    for (auto* runner : vm->runners()) runner->kicker().kick();
  }};
  std::unique_ptr<Hypervisor> hypervisor;
  std::shared_ptr<memory::MemoryMap> memory = std::make_shared<memory::MemoryMap>();
  std::unique_ptr<EventLoop> loop;
  Bus ports{"port", 16};
  Bus addresses{"memory", 64};
  std::unique_ptr<Vm> vm;
  std::unique_ptr<PciHost> pci;
  std::unique_ptr<VirtioDevices> virtio;
  std::atomic<std::uint64_t> first_run{0};
  std::vector<std::unique_ptr<RunnerThread>> runners;
  bool started = false;
  bool down = false;
};

Result<void> DeviceModel::Impl::build(const BackendRegistry& registry) {
  if (config.block.empty() && config.console.empty() && config.rng.empty() && config.net.empty()) {
    return Error(Errc::invalid_argument, "make a device model", "give it a device: --block, --console, --rng or --net");
  }
  // What can be refused without the hypervisor first.
  TRIVET_ASSIGN(loop, EventLoop::create());
  TRIVET_ASSIGN(virtio, VirtioDevices::create(devices_of(config), *loop, memory));
  TRIVET_TRY(virtio->place(VirtioTransport::pci, {.first = config.first_device}));
  TRIVET_ASSIGN(const auto* backend, registry.select(config.hypervisor));
  TRIVET_ASSIGN(hypervisor, backend->open());
  TRIVET_TRY(virtio->shared_memory(*hypervisor));  // for its refusal
  TRIVET_ASSIGN(vm, hypervisor->attach(VmId{config.id}, {.not_ours = true}));
  TRIVET_TRY(map_memory());
  TRIVET_TRY(connect());
  for (auto* runner : vm->runners()) {
    runners.push_back(std::make_unique<RunnerThread>(
        *runner, gate, BusIo::Targets{ports, addresses, pci.get(), memory.get()}, first_run));
  }
  return hypervisor->drop_privileges();
}

Result<void> DeviceModel::Impl::map_memory() {
  const GuestRange everything{{0}, std::uint64_t{1} << hypervisor->limit(Limit::physical_address_bits)};
  TRIVET_ASSIGN(const auto ranges, vm->populated(everything));
  if (ranges.empty()) {
    return Error(Errc::not_found, "map the guest's memory",
                 fmt::format("{} {} has none: is it being built?", config.hypervisor, config.id), Blame::host);
  }
  for (const auto& range : ranges) {
    TRIVET_ASSIGN(const auto mapped, vm->map({range, HypervisorMemory{}}));
    TRIVET_ASSIGN(auto region, memory::Region::create(mapped));
    TRIVET_TRY(memory->insert(std::move(region)));
  }
  return {};
}

Result<void> DeviceModel::Impl::connect() {
  auto* claims = vm->io_claims();
  if (claims == nullptr || vm->irq_router() == nullptr) {
    return Error::unsupported("make a device model",
                              fmt::format("{} lets nobody claim accesses of another's VM", hypervisor->name()));
  }
  const PciInfo info;
  const auto grafted = graft_pci_host(*memory->snapshot(), toolstack_tables, info);
  if (!grafted && grafted.error().code() != Errc::not_found) return grafted.error();
  if (grafted) {
    TRIVET_TRY(own_bus(*claims, info));
  } else {
    // No tables yet: the guest has firmware, which makes them, and the bus is its other device model's.
    TRIVET_ASSIGN(pci, PciHost::create_beside(*claims, std::nullopt));
  }
  const auto& window = pci->window_range();
  TRIVET_TRY(addresses.insert(window.start.value, window.size, pci->window(), "PCI memory"));
  TRIVET_TRY(virtio->connect(*vm, *vm->irq_router(), addresses, pci.get()));
  ports.seal();
  addresses.seal();
  return {};
}

/// The guest has no bus: it gets ours, or the one of another device model of this kind that serves it already, since
/// each has a part of the window of its own.
Result<void> DeviceModel::Impl::own_bus(IoClaims& claims, const PciInfo& info) {
  const auto part = info.memory.size / PciHost::most_devices;
  const auto before = config.first_device * part;
  TRIVET_ASSIGN(
      pci, PciHost::create_beside(claims, GuestRange{{info.memory.start.value + before}, info.memory.size - before}));
  TRIVET_TRY(claims.claim_ports(PciHost::ports_first, PciHost::ports_size));
  return ports.insert(PciHost::ports_first, PciHost::ports_size, pci->ports(), "PCI configuration");
}

DeviceModel::DeviceModel(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

DeviceModel::~DeviceModel() {
  stop();
  (void)wait();
}

Result<std::unique_ptr<DeviceModel>> DeviceModel::create(const DeviceModelConfig& config,
                                                         const BackendRegistry& registry) {
  auto impl = std::make_unique<Impl>(config);
  TRIVET_TRY(impl->build(registry));
  return std::unique_ptr<DeviceModel>(new DeviceModel(std::move(impl)));
}

Result<void> DeviceModel::start() {
  auto& it = *impl_;
  if (it.started) return Error(Errc::bad_state, "start the device model", "it was started before");
  it.started = true;
  TRIVET_TRY(it.loop->start());
  it.gate.resume();
  for (unsigned i = 0; i < it.runners.size(); ++i) {
    if (const auto started = it.runners[i]->start(i); !started) {
      stop();
      return started.error();
    }
  }
  return {};
}

void DeviceModel::stop() noexcept {
  impl_->gate.finish({End::stopped, {}, {}});
}

Outcome DeviceModel::wait() {
  auto& it = *impl_;
  auto outcome = it.gate.wait();
  if (it.down) return outcome;
  it.down = true;
  for (const auto& runner : it.runners) runner->join();
  if (it.virtio) it.loop->run_and_wait([&] { it.virtio->reset(); });
  if (it.loop) it.loop->stop();
  return outcome;
}

std::vector<std::string> DeviceModel::devices() const {
  return impl_->virtio->descriptions();
}

std::uint64_t DeviceModel::memory_mib() const {
  std::uint64_t bytes = 0;
  for (const auto& region : impl_->memory->snapshot()->regions()) bytes += region->range().size;
  return bytes / layout::mebibyte;
}

boost::asio::any_io_executor DeviceModel::executor() const noexcept {
  return impl_->loop->executor();
}

}  // namespace trivet::vmm
