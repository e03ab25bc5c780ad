// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "virtio_devices.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>

#include <trivet/core/capability.hpp>
#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/balloon.hpp>
#include <trivet/virtio/block.hpp>
#include <trivet/virtio/console.hpp>
#include <trivet/virtio/net.hpp>
#include <trivet/virtio/raw_disk.hpp>
#include <trivet/virtio/rng.hpp>
#include <trivet/virtio/tap.hpp>
#include <trivet/virtio/vsock.hpp>
#include <trivet/vmm/allocator.hpp>
#include <trivet/vmm/layout_x86_64.hpp>

#include "host_file.hpp"
#include "log.hpp"
#include "mac_text.hpp"

namespace trivet::vmm {

namespace {

std::uint64_t withheld_features(const PlatformConfig& platform) noexcept {
  namespace abi = virtio::abi;
  return (platform.packed ? 0 : abi::f_ring_packed) | (platform.in_order ? 0 : abi::f_in_order) |
         (platform.notification_data ? 0 : abi::f_notification_data | abi::f_notif_config_data);
}

/// Which of a console's two is a terminal, the one that shows something first; -1: none.
int terminal_of(const UniqueFd& input, const UniqueFd& output) noexcept {
  if (Terminal::size(output.value())) return output.value();
  return Terminal::size(input.value()) ? input.value() : -1;
}

}  // namespace

Result<std::unique_ptr<VirtioDevices>> VirtioDevices::create(const Config& config, EventLoop& loop,
                                                             std::shared_ptr<const memory::MemoryMap> memory,
                                                             const std::vector<OwnDevice>& own) {
  std::unique_ptr<VirtioDevices> devices(new VirtioDevices(loop, std::move(memory)));
  devices->withheld_features_ = withheld_features(config.platform);
  devices->admin_queue_ = config.platform.admin_queue;
  TRIVET_TRY(devices->open_all(config));
  for (const auto& device : own) TRIVET_TRY(devices->open_own(device));
  devices->follow_terminals();
  return devices;
}

VirtioDevices::~VirtioDevices() {
  for (auto& slot : slots_) {
    slot.mapped.clear();
    if (slot.pci && pci_ != nullptr) pci_->detach(*slot.pci);
  }
}

Result<void> VirtioDevices::open_all(const Config& config) {
  TRIVET_TRY(open_kind("block", config.block));
  TRIVET_TRY(open_kind("console", config.console));
  if (!config.port.empty()) TRIVET_TRY(open_one("port", 0, config.port));  // all on one device
  TRIVET_TRY(open_kind("rng", config.rng));
  TRIVET_TRY(open_kind("vsock", config.vsock));
  TRIVET_TRY(open_kind("balloon", config.balloon));
  TRIVET_TRY(open_kind("net", config.net));
  return {};
}

Result<std::unique_ptr<virtio::Device>> VirtioDevices::open(const BlockConfig& config, Slot& slot) {
  slot.what = config.path;
  TRIVET_ASSIGN(auto disk, virtio::RawDisk::open(config.path, {config.read_only, config.direct, config.raw}));
  TRIVET_ASSIGN(auto backend, virtio::create_backend(std::move(disk)));
  virtio::BlockOptions options;
  options.id = config.id.empty() ? fmt::format("trivet-{}", slot.index) : config.id;
  options.queues = config.queues;
  options.limits = {{config.bytes, 0}, {config.operations, 0}};
  TRIVET_ASSIGN(auto device, virtio::Block::create(std::move(backend), std::move(options)));
  return device;
}

Result<std::unique_ptr<virtio::Device>> VirtioDevices::open(const ConsoleConfig& config, Slot& slot) {
  slot.what = fmt::format("input {}, output {}", config.input, config.output);
  TRIVET_ASSIGN(slot.input, open_input(config.input, Flags::own));
  TRIVET_ASSIGN(slot.output, open_output(config.output, Flags::own));
  virtio::ConsoleOptions options;
  options.input_fd = slot.input.value();
  options.output_fd = slot.output.value();
  const int terminal = terminal_of(slot.input, slot.output);
  options.resizable = terminal >= 0;
  TRIVET_ASSIGN(auto device, virtio::Console::create(options));
  if (terminal >= 0) screens_.push_back({device.get(), 0, terminal, {}});
  return device;
}

Result<std::unique_ptr<virtio::Device>> VirtioDevices::open(const std::vector<PortConfig>& configs, Slot& slot) {
  virtio::ConsoleOptions options;
  std::vector<Screen> screens;
  for (const auto& config : configs) {
    auto& port = options.ports.emplace_back();
    port.name = config.name;
    port.is_console = config.console;
    port.socket = config.socket;
    TRIVET_ASSIGN(auto input, open_input(config.input, Flags::own));
    TRIVET_ASSIGN(auto output, open_output(config.output, Flags::own));
    port.input_fd = input.value();
    port.output_fd = output.value();
    const int terminal = config.console ? terminal_of(input, output) : -1;
    if (terminal >= 0) screens.push_back({nullptr, static_cast<unsigned>(options.ports.size()), terminal, {}});
    slot.files.push_back(std::move(input));
    slot.files.push_back(std::move(output));
    slot.what += fmt::format("{}{}", slot.what.empty() ? "" : ", ", config.name.empty() ? "unnamed" : config.name);
  }
  options.resizable = !screens.empty();
  TRIVET_ASSIGN(auto device, virtio::Console::create(std::move(options)));
  for (auto& screen : screens) {
    screen.console = device.get();
    screens_.push_back(screen);
  }
  return device;
}

Result<std::unique_ptr<virtio::Device>> VirtioDevices::open(const RngConfig& config, Slot& slot) {
  slot.what = config.source.empty() ? "the kernel's random bytes" : config.source;
  const virtio::RateLimits limits{.bytes = {config.bytes, 0}};
  TRIVET_ASSIGN(auto device,
                config.source.empty() ? virtio::Rng::create(limits) : virtio::Rng::create(config.source, limits));
  return device;
}

Result<std::unique_ptr<virtio::Device>> VirtioDevices::open(const VsockConfig& config, Slot& slot) {
  slot.what = fmt::format("cid {}, {}", config.cid, config.path);
  virtio::VsockOptions options;
  options.cid = config.cid;
  options.path = config.path;
  TRIVET_ASSIGN(auto device, virtio::Vsock::create(std::move(options)));
  return device;
}

Result<std::unique_ptr<virtio::Device>> VirtioDevices::open(const BalloonConfig& config, Slot& slot) {
  slot.what = fmt::format("{} MiB", config.target_mib);
  virtio::BalloonOptions options;
  options.target_mib = config.target_mib;
  options.deflate_on_oom = config.deflate_on_oom;
  options.free_page_reporting = config.free_page_reporting;
  TRIVET_ASSIGN(auto device, virtio::Balloon::create(std::move(options)));
  balloon_ = device.get();
  return device;
}

Result<std::unique_ptr<virtio::Device>> VirtioDevices::open(const NetConfig& config, Slot& slot) {
  std::unique_ptr<virtio::Tap> tap;
  if (config.fd) {
    std::vector<UniqueFd> fds;
    fds.emplace_back(::fcntl(static_cast<int>(*config.fd), F_DUPFD_CLOEXEC, 0));
    if (!fds.front().valid()) return Error::from_errno(errno, "duplicate descriptor", std::to_string(*config.fd));
    TRIVET_ASSIGN(tap, virtio::Tap::adopt(std::move(fds)));
  } else {
    TRIVET_ASSIGN(tap, virtio::Tap::open(config.tap, config.queues));
  }
  virtio::NetOptions options;
  TRIVET_ASSIGN(options.mac, config.mac.empty() ? random_mac() : parse_mac(config.mac));
  if (config.mtu) options.mtu = static_cast<std::uint16_t>(*config.mtu);
  options.offloads = config.offload;
  options.rss = config.rss;
  options.receive = {{config.rx_bytes, 0}, {config.rx_packets, 0}};
  options.transmit = {{config.tx_bytes, 0}, {config.tx_packets, 0}};
  slot.what = fmt::format("{}, {}", tap->name(), text_of(options.mac));
  TRIVET_ASSIGN(auto device, virtio::Net::create(std::move(tap), options));
  return device;
}

Result<void> VirtioDevices::open_own(const OwnDevice& own) {
  Slot slot;
  slot.name = own.name;
  slot.what = "the program's own";
  auto device = own.make();
  if (!device) return device.error().within(own.name);
  if (*device == nullptr) return Error(Errc::invalid_argument, "make a device", fmt::format("{}: null", own.name));
  slot.device = std::move(*device);
  TRIVET_TRY(virtio::check_shared_memory(slot.device->shared_memory()));
  slots_.push_back(std::move(slot));
  return {};
}

template <class DeviceConfig>
Result<void> VirtioDevices::open_one(const char* kind, std::size_t index, const DeviceConfig& config) {
  Slot slot;
  slot.index = index;
  slot.name = fmt::format("{} {}", kind, index);
  auto device = open(config, slot);
  if (!device) return device.error().within(fmt::format("--{}", kind));
  slot.device = std::move(*device);
  slots_.push_back(std::move(slot));
  return {};
}

template <class DeviceConfigs>
Result<void> VirtioDevices::open_kind(const char* kind, const DeviceConfigs& configs) {
  if constexpr (requires { configs.has_value(); }) {
    if (configs) TRIVET_TRY(open_one(kind, 0, *configs));
  } else {
    for (std::size_t i = 0; i < configs.size(); ++i) TRIVET_TRY(open_one(kind, i, configs[i]));
  }
  return {};
}

Result<std::uint64_t> VirtioDevices::shared_memory(const Hypervisor& hypervisor) const {
  std::uint64_t bytes = 0;
  for (const auto& slot : slots_) {
    for (const auto& region : slot.device->shared_memory()) bytes += region.length;
    if (bytes != 0 && hypervisor.supports(Cap::host_memory) == Support::no) {
      return Error::unsupported("share a device's memory with the guest",
                                fmt::format("{}: {} maps none of ours into its guests ({})", slot.name,
                                            hypervisor.name(), to_string(Cap::host_memory)));
    }
  }
  return bytes;
}

Result<void> VirtioDevices::place(VirtioTransport transport, const VirtioPlaces& places) {
  transport_ = transport;
  if (transport == VirtioTransport::pci) return place_on_pci(places.first);
  TRIVET_TRY(place_on_mmio(places));
  return place_shared_memory(places);
}

Result<void> VirtioDevices::place_shared_memory(const VirtioPlaces& places) {
  TRIVET_ASSIGN(auto low, AddressAllocator::create(places.memory));
  std::optional<AddressAllocator> high;
  if (places.high_memory) {
    TRIVET_ASSIGN(high, AddressAllocator::create(*places.high_memory));
  }
  for (auto& slot : slots_) {
    for (const auto& region : slot.device->shared_memory()) {
      // So that the hypervisor may use large pages, as far as the memory itself is aligned.
      const auto alignment = std::min(std::bit_floor(region.length), layout::gibibyte);
      auto range = low.allocate(region.length, alignment);
      if (!range && high) range = high->allocate(region.length, alignment);
      if (!range) return range.error().within(fmt::format("{}: shared memory {}", slot.name, region.id));
      slot.shared_memory.push_back(range->start);
    }
  }
  return {};
}

Result<void> VirtioDevices::map_shared_memory(Vm& vm) {
  for (auto& slot : slots_) {
    const auto regions = slot.device->shared_memory();
    for (std::size_t i = 0; i < slot.shared_memory.size(); ++i) {
      auto& mapped = slot.mapped.emplace_back(
          std::make_unique<MappedMemory>(vm, std::vector<pci::BarMemory>{{0, regions[i].length, regions[i].host}}));
      if (const auto done = mapped->move_to(slot.shared_memory[i]); !done) {
        return done.error().within(fmt::format("{}: shared memory {}", slot.name, regions[i].id));
      }
    }
  }
  return {};
}

Result<void> VirtioDevices::place_on_mmio(const VirtioPlaces& places) {
  TRIVET_ASSIGN(auto free, AddressAllocator::create(places.windows));
  TRIVET_ASSIGN(auto pins, IdAllocator::create(0, static_cast<std::uint32_t>(layout::virtio_gsis.size()) - 1));
  std::size_t shared = 0;
  for (auto& slot : slots_) {
    TRIVET_ASSIGN(slot.range, free.allocate(layout::virtio_mmio_stride, layout::virtio_mmio_stride));
    const auto pin = pins.allocate();
    // More devices than pins: they share, in turn. The interrupts are edges, and a virtio driver looks before it works.
    const auto index = pin ? *pin : shared++ % layout::virtio_gsis.size();
    slot.gsi = layout::virtio_gsis.at(index);
  }
  return {};
}

Result<void> VirtioDevices::place_on_pci(std::uint8_t first) {
  const std::size_t most = PciHost::most_devices - first;
  if (slots_.size() > most) {
    return Error(Errc::limit, "place the virtio devices",
                 fmt::format("platform virtio=pci: {} devices, PCI bus 0 takes {}{}", slots_.size(), most,
                             first == 1 ? "" : fmt::format(" from device {} on", first)));
  }
  std::uint8_t device = first;
  for (auto& slot : slots_) slot.address.device = device++;
  return {};
}

std::vector<VirtioMmioInfo> VirtioDevices::platform() const {
  std::vector<VirtioMmioInfo> all;
  if (transport_ != VirtioTransport::mmio) return all;
  for (const auto& slot : slots_) all.push_back({slot.range, slot.gsi, Trigger::edge});
  return all;
}

virtio::ErrorLog VirtioDevices::log_of(const Slot& slot) const {
  return [name = slot.name](const Error& error) { log::warning(to_string(error.within(name))); };
}

Result<void> VirtioDevices::connect_mmio(Slot& slot, Vm& vm, IrqRouter& router, Bus& bus) {
  TRIVET_ASSIGN(slot.line, router.line(slot.gsi, trivet::Trigger::edge));
  virtio::MmioConfig config;
  config.base = slot.range.start;
  config.memory = memory_;
  config.executor = loop_.executor();
  config.interrupt = slot.line.get();
  config.doorbells = vm.doorbells();
  config.log = log_of(slot);
  config.shared_memory = slot.shared_memory;
  config.withheld_features = withheld_features_;
  TRIVET_ASSIGN(slot.mmio, virtio::MmioTransport::create(std::move(slot.device), std::move(config)));
  slot.window = std::make_unique<Window>(*slot.mmio);
  return bus.insert(slot.range.start.value, slot.range.size, *slot.window, slot.name);
}

Result<void> VirtioDevices::connect_pci(Slot& slot, Vm& vm, IrqRouter& router, PciHost& host) {
  virtio::PciConfig config;
  config.memory = memory_;
  config.executor = loop_.executor();
  config.router = &router;
  config.requester = slot.address.bdf();
  config.doorbells = vm.doorbells();
  config.log = log_of(slot);
  config.withheld_features = withheld_features_;
  config.admin_queue = admin_queue_;
  TRIVET_ASSIGN(slot.pci, virtio::PciTransport::create(std::move(slot.device), std::move(config)));
  return host.attach(slot.address, *slot.pci, slot.name);
}

Result<void> VirtioDevices::connect(Vm& vm, IrqRouter& router, Bus& bus, PciHost* pci) {
  pci_ = pci;
  for (auto& slot : slots_) {
    const auto connected =
        transport_ == VirtioTransport::mmio ? connect_mmio(slot, vm, router, bus) : connect_pci(slot, vm, router, *pci);
    if (!connected) return connected.error().within(slot.name);
  }
  return {};
}

void VirtioDevices::follow_terminals() noexcept {
  for (auto& screen : screens_) {
    const auto now = Terminal::size(screen.fd);
    if (!now || *now == screen.said) continue;
    screen.said = *now;
    if (screen.port == 0) {
      screen.console->resize(now->columns, now->rows);
    } else {
      (void)screen.console->resize_port(screen.port, now->columns, now->rows);
    }
  }
}

void VirtioDevices::reset() noexcept {
  for (auto& slot : slots_) {
    if (slot.mmio) slot.mmio->reset();
    if (slot.pci) slot.pci->reset();
  }
}

std::vector<std::string> VirtioDevices::descriptions() const {
  std::vector<std::string> lines;
  for (const auto& slot : slots_) {
    const auto where = transport_ == VirtioTransport::mmio
                           ? fmt::format("virtio-mmio at {:#x}, gsi {}", slot.range.start.value, slot.gsi)
                           : fmt::format("virtio-pci at {:02x}:{:02x}.{}", slot.address.bus, slot.address.device,
                                         slot.address.function);
    lines.push_back(fmt::format("{}: {}, {}", slot.name, where, slot.what));
  }
  return lines;
}

}  // namespace trivet::vmm
