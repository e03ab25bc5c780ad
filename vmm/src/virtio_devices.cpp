// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "virtio_devices.hpp"

#include <array>
#include <fmt/format.h>

#include <trivet/virtio/abi/mmio.hpp>
#include <trivet/virtio/block.hpp>
#include <trivet/virtio/console.hpp>
#include <trivet/virtio/raw_disk.hpp>
#include <trivet/virtio/rng.hpp>
#include <trivet/vmm/allocator.hpp>
#include <trivet/vmm/layout_x86_64.hpp>

#include "host_file.hpp"
#include "log.hpp"

namespace trivet::vmm {

Result<std::unique_ptr<VirtioDevices>> VirtioDevices::create(const Config& config, EventLoop& loop,
                                                             std::shared_ptr<const memory::MemoryMap> memory) {
  std::unique_ptr<VirtioDevices> devices(new VirtioDevices(loop, std::move(memory)));
  TRIVET_TRY(devices->open_all(config));
  TRIVET_TRY(devices->place());
  return devices;
}

Result<void> VirtioDevices::open_all(const Config& config) {
  TRIVET_TRY(open_kind("block", config.block));
  TRIVET_TRY(open_kind("console", config.console));
  TRIVET_TRY(open_kind("rng", config.rng));
  return {};
}

Result<std::unique_ptr<virtio::Device>> VirtioDevices::open(const BlockConfig& config, Slot& slot) {
  slot.what = config.path;
  TRIVET_ASSIGN(auto disk, virtio::RawDisk::open(config.path, {config.read_only, config.direct}));
  TRIVET_ASSIGN(auto backend, virtio::create_backend(std::move(disk)));
  virtio::BlockOptions options;
  options.id = config.id.empty() ? fmt::format("trivet-{}", slot.index) : config.id;
  options.queues = config.queues;
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
  TRIVET_ASSIGN(auto device, virtio::Console::create(options));
  return device;
}

Result<std::unique_ptr<virtio::Device>> VirtioDevices::open(const RngConfig& config, Slot& slot) {
  slot.what = config.source.empty() ? "the kernel's random bytes" : config.source;
  TRIVET_ASSIGN(auto device, config.source.empty() ? virtio::Rng::create() : virtio::Rng::create(config.source));
  return device;
}

template <class DeviceConfig>
Result<void> VirtioDevices::open_kind(const char* kind, const std::vector<DeviceConfig>& configs) {
  for (std::size_t i = 0; i < configs.size(); ++i) {
    Slot slot;
    slot.index = i;
    slot.name = fmt::format("{} {}", kind, i);
    auto device = open(configs[i], slot);
    if (!device) return device.error().within(fmt::format("--{}", kind));
    slot.device = std::move(*device);
    slots_.push_back(std::move(slot));
  }
  return {};
}

Result<void> VirtioDevices::place() {
  TRIVET_ASSIGN(auto windows, AddressAllocator::create(layout::virtio_mmio));
  TRIVET_ASSIGN(auto pins, IdAllocator::create(0, static_cast<std::uint32_t>(layout::virtio_gsis.size()) - 1));
  std::size_t shared = 0;
  for (auto& slot : slots_) {
    TRIVET_ASSIGN(slot.range, windows.allocate(layout::virtio_mmio_stride, layout::virtio_mmio_stride));
    const auto pin = pins.allocate();
    // More devices than pins: they share, in turn. The interrupts are edges, and a virtio driver looks before it works.
    const auto index = pin ? *pin : shared++ % layout::virtio_gsis.size();
    slot.gsi = layout::virtio_gsis.at(index);
  }
  return {};
}

std::vector<VirtioMmioInfo> VirtioDevices::platform() const {
  std::vector<VirtioMmioInfo> all;
  for (const auto& slot : slots_) all.push_back({slot.range, slot.gsi, Trigger::edge});
  return all;
}

Result<void> VirtioDevices::connect(Vm& vm, Bus& bus) {
  for (auto& slot : slots_) {
    TRIVET_ASSIGN(slot.line, vm.irq_router()->line(slot.gsi, trivet::Trigger::edge));
    virtio::MmioConfig config;
    config.base = slot.range.start;
    config.memory = memory_;
    config.executor = loop_.executor();
    config.interrupt = slot.line.get();
    config.doorbells = vm.doorbells();
    config.log = [name = slot.name](const Error& error) { log::warning(to_string(error.within(name))); };
    auto transport = virtio::MmioTransport::create(std::move(slot.device), std::move(config));
    if (!transport) return transport.error().within(slot.name);
    slot.transport = std::move(*transport);
    slot.window = std::make_unique<Window>(*slot.transport);
    TRIVET_TRY(bus.insert(slot.range.start.value, slot.range.size, *slot.window, slot.name));
  }
  return {};
}

void VirtioDevices::reset() noexcept {
  constexpr auto status = offsetof(virtio::abi::MmioRegisters, status);
  constexpr std::array<std::byte, 4> zero{};
  for (auto& slot : slots_) {
    if (slot.transport) slot.transport->write(status, zero);  // as the driver would
  }
}

std::vector<std::string> VirtioDevices::descriptions() const {
  std::vector<std::string> lines;
  for (const auto& slot : slots_) {
    lines.push_back(
        fmt::format("{}: virtio-mmio at {:#x}, gsi {}, {}", slot.name, slot.range.start.value, slot.gsi, slot.what));
  }
  return lines;
}

}  // namespace trivet::vmm
