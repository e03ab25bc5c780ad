// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <bit>
#include <fmt/format.h>

#include <trivet/virtio/abi/admin.hpp>
#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/abi/ids.hpp>
#include <trivet/virtio/abi/pci.hpp>
#include <trivet/virtio/pci_transport.hpp>

#include "administered_device.hpp"

// The function as its bus sees it: identity, capabilities, BAR. What lies in the BAR is in pci_common_config.cpp, what
// is signalled in pci_signals.cpp.

namespace trivet::virtio {

namespace reg = pci::reg;

namespace {

constexpr std::uint32_t page = 0x1000;
constexpr std::size_t largest_queue_count = page / PciTransport::notify_multiplier;
constexpr std::size_t most_vectors = page / reg::msix_entry_size;

/// PCI class codes, for what looks at them (firmware, lspci).
std::uint32_t class_of(std::uint32_t device) {
  switch (static_cast<abi::DeviceId>(device)) {
    case abi::DeviceId::network:
      return 0x02'00'00;  // Ethernet
    case abi::DeviceId::block:
      return 0x01'80'00;  // mass storage, other
    case abi::DeviceId::console:
      return 0x07'80'00;  // communication, other
    case abi::DeviceId::balloon:
    case abi::DeviceId::memory:
    case abi::DeviceId::persistent_memory:
      return 0x05'00'00;  // RAM
    default:
      return 0xff'00'00;
  }
}

pci::Identity identity_of(std::uint32_t device) {
  pci::Identity identity;
  identity.vendor = abi::pci_vendor_id;
  identity.device = static_cast<std::uint16_t>(abi::pci_first_device_id + device);
  identity.class_code = class_of(device);
  identity.revision = abi::pci_revision;
  identity.subsystem_vendor = abi::pci_vendor_id;
  identity.subsystem = abi::pci_least_subsystem_id;
  return identity;
}

template <class T>
ConstBytes behind_header(const T& capability) {
  return std::as_bytes(std::span(&capability, 1)).subspan(offsetof(abi::PciCap, cap_len));
}

}  // namespace

Result<std::unique_ptr<PciTransport>> PciTransport::create(std::unique_ptr<Device> device, PciConfig config) {
  constexpr auto operation = "create virtio transport";
  DriverSide::Options options{"virtio-pci", config.memory, config.executor, config.log, DriverSide::FirstSize::largest};
  // Each queue's notification address is its own, so that what is written there is free to say more.
  options.transport_features = abi::f_notification_data | abi::f_notif_config_data;
  options.withheld_features = config.withheld_features;
  TRIVET_TRY(DriverSide::check(device.get(), options));
  if (config.router == nullptr) return Error(Errc::invalid_argument, operation, "virtio-pci: it needs an IRQ router");
  auto& own = *device;
  if (config.admin_queue) {
    device = std::make_unique<AdministeredDevice>(std::move(device));
    options.transport_features |= abi::f_admin_vq;
    options.admin_queues = 1;
  }
  if (device->queue_sizes().size() > largest_queue_count) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("virtio-pci: {} queues, at most {} have an address", device->queue_sizes().size(),
                             largest_queue_count));
  }
  std::unique_ptr<PciTransport> transport(
      new PciTransport(own, std::move(device), std::move(config), std::move(options)));
  TRIVET_TRY(transport->prepare());
  return transport;
}

PciTransport::PciTransport(Device& own, std::unique_ptr<Device> device, PciConfig config, DriverSide::Options options)
    : wiring_(std::move(config)),
      device_(own),
      admin_queues_(options.admin_queues),
      kicks_(device->queue_sizes().size()),
      config_(identity_of(device->id())),
      side_(std::move(device), std::move(options), *this) {}

PciTransport::~PciTransport() = default;

Result<void> PciTransport::prepare() {
  for (auto& kick : kicks_) {
    TRIVET_ASSIGN(kick.event, Event::create());
  }
  // One for each queue and one for the configuration, as far as the table's page goes; queues may share.
  const auto vectors = static_cast<std::uint16_t>(std::min(kicks_.size() + 1, most_vectors));
  msix_.emplace(*wiring_.router, vectors, wiring_.requester, [this](const Error& error) { side_.host_error(error); });
  TRIVET_TRY(config_.add_bar(bar, {bar_size}));
  if (wiring_.line != nullptr) config_.set<std::uint8_t>(reg::interrupt_pin, 1);  // INTA
  return add_capabilities();
}

Result<std::uint8_t> PciTransport::add_virtio_capability(std::uint8_t type, std::uint32_t offset, std::uint32_t length,
                                                         ConstBytes more) {
  abi::PciCap cap{};
  cap.cap_len = static_cast<abi::u8>(sizeof(cap) + more.size());
  cap.cfg_type = type;
  cap.bar = bar;
  cap.offset = offset;
  cap.length = length;
  const auto head = behind_header(cap);
  std::vector<std::byte> body(head.begin(), head.end());
  body.insert(body.end(), more.begin(), more.end());
  return config_.add_capability(reg::capability_vendor, body);
}

Result<void> PciTransport::add_capabilities() {
  const abi::le32 multiplier(notify_multiplier);
  const std::array<std::byte, 4> window_data{};
  const auto notify_length = static_cast<std::uint32_t>(std::max<std::size_t>(kicks_.size(), 1) * notify_multiplier);
  const auto common_length = admin_queues_ == 0 ? abi::pci_common_cfg_size : std::uint32_t{sizeof(abi::PciCommonCfg)};
  TRIVET_TRY(add_virtio_capability(abi::pci_cap_common_cfg, common_offset, common_length));
  TRIVET_TRY(add_virtio_capability(abi::pci_cap_notify_cfg, notify_offset, notify_length,
                                   std::as_bytes(std::span(&multiplier, 1))));
  TRIVET_TRY(add_virtio_capability(abi::pci_cap_isr_cfg, isr_offset, 1));
  TRIVET_TRY(add_virtio_capability(abi::pci_cap_device_cfg, device_offset, page));
  TRIVET_ASSIGN(window_capability_, add_virtio_capability(abi::pci_cap_pci_cfg, 0, 0, window_data));
  config_.allow<std::uint8_t>(window_capability_ + offsetof(abi::PciCap, bar), 0xff);
  config_.allow<std::uint32_t>(window_capability_ + offsetof(abi::PciCap, offset), ~0U);
  config_.allow<std::uint32_t>(window_capability_ + offsetof(abi::PciCap, length), ~0U);

  // PCI 3.0, 6.8.2.3 to 6.8.2.5: message control, table and pending bits with their BAR in the low bits.
  std::array<std::byte, 10> msix{};
  TRIVET_ASSIGN(msix_capability_, config_.add_capability(reg::capability_msix, msix));
  config_.set<std::uint16_t>(msix_capability_ + reg::msix_control, static_cast<std::uint16_t>(msix_->vectors() - 1));
  config_.allow<std::uint16_t>(msix_capability_ + reg::msix_control,
                               reg::msix_control_enable | reg::msix_control_function_mask);
  config_.set<std::uint32_t>(msix_capability_ + 4, msix_table_offset | bar);
  config_.set<std::uint32_t>(msix_capability_ + 8, msix_pending_offset | bar);
  return add_shared_memory();
}

/// 4.1.4.7: a capability for each region.
Result<void> PciTransport::add_shared_memory() {
  const auto regions = side_.device().shared_memory();
  if (regions.empty()) return {};
  const auto all = std::bit_ceil(shared_memory_offset(regions, regions.size()));
  TRIVET_TRY(config_.add_bar(shared_memory_bar, {.size = all, .wide = true, .prefetchable = true}));
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const auto offset = shared_memory_offset(regions, i);
    abi::PciCap64 place{};
    place.cap.cap_len = sizeof place;
    place.cap.cfg_type = abi::pci_cap_shared_memory_cfg;
    place.cap.bar = shared_memory_bar;
    place.cap.id = regions[i].id;
    place.cap.offset = static_cast<std::uint32_t>(offset);
    place.cap.length = static_cast<std::uint32_t>(regions[i].length);
    place.offset_hi = static_cast<std::uint32_t>(offset >> 32);
    place.length_hi = static_cast<std::uint32_t>(regions[i].length >> 32);
    TRIVET_TRY(config_.add_capability(reg::capability_vendor, behind_header(place)));
  }
  return {};
}

// --- configuration space ---

bool PciTransport::through_window(std::uint16_t offset, std::size_t size) const noexcept {
  const auto at = [this](std::size_t field) { return static_cast<std::uint16_t>(window_capability_ + field); };
  if (offset != at(offsetof(abi::PciCfgCap, pci_cfg_data))) return false;
  if (config_.value<std::uint8_t>(at(offsetof(abi::PciCap, bar))) != bar) return false;
  const auto length = config_.value<std::uint32_t>(at(offsetof(abi::PciCap, length)));
  const auto target = window_offset();
  return length == size && target % length == 0 && target <= bar_size - length;
}

std::uint32_t PciTransport::window_offset() const noexcept {
  return config_.value<std::uint32_t>(static_cast<std::uint16_t>(window_capability_ + offsetof(abi::PciCap, offset)));
}

void PciTransport::read_config(std::uint16_t offset, Bytes data) noexcept {
  const std::lock_guard lock(config_mutex_);
  if (through_window(offset, data.size())) return read_bar(bar, window_offset(), data);
  config_.read(offset, data);
  // 4.1.4.5.1: the status register shows whether the ISR status has a bit.
  if (offset <= reg::status && reg::status < offset + data.size() && isr_.load() != 0) {
    data[reg::status - offset] |= std::byte{reg::status_interrupt};
  }
}

void PciTransport::write_config(std::uint16_t offset, ConstBytes data) noexcept {
  const std::lock_guard lock(config_mutex_);
  if (through_window(offset, data.size())) return write_bar(bar, window_offset(), data);
  config_.write(offset, data);
  const auto control = config_.value<std::uint16_t>(static_cast<std::uint16_t>(msix_capability_ + reg::msix_control));
  msix_->set_control(control);
  line_disabled_ = (config_.value<std::uint16_t>(reg::command) & reg::command_interrupt_disable) != 0;
  update_line();
  bar_may_have_moved();
}

void PciTransport::bar_may_have_moved() {
  if (const auto shared = config_.bar_address(shared_memory_bar); shared != shared_memory_at_) {
    shared_memory_at_ = shared;
    if (listener_ != nullptr) listener_->bar_moved(*this, shared_memory_bar, shared);
  }
  const auto now = config_.bar_address(bar);
  if (base_.exchange(now ? now->value : nowhere) == (now ? now->value : nowhere)) return;
  if (listener_ != nullptr) listener_->bar_moved(*this, bar, now);
  if (wiring_.doorbells == nullptr) return;
  const auto lock = side_.lock();
  side_.reconnect_queues();
}

// --- the BAR ---

void PciTransport::read_bar(unsigned index, std::uint64_t offset, Bytes data) noexcept {
  if (index == shared_memory_bar) return read_shared_memory(side_.device().shared_memory(), offset, data);
  std::ranges::fill(data, std::byte{0});
  if (index != bar || offset > bar_size - data.size()) return;
  const auto within = offset % page;
  switch (offset - within) {
    case common_offset:
      return read_common(static_cast<std::uint32_t>(within), data);
    case isr_offset:
      if (within == 0) data[0] = take_isr();
      return;
    case device_offset: {
      const auto lock = side_.lock();
      return side_.read_config(within, data);
    }
    case msix_table_offset:
      return msix_->read_table(within, data);
    case msix_pending_offset:
      return msix_->read_pending(within, data);
    default:  // notifications are write-only, the rest is empty
      return;
  }
}

void PciTransport::write_bar(unsigned index, std::uint64_t offset, ConstBytes data) noexcept {
  if (index == shared_memory_bar) return write_shared_memory(side_.device().shared_memory(), offset, data);
  if (index != bar || offset > bar_size - data.size()) return;
  const auto within = offset % page;
  switch (offset - within) {
    case common_offset:
      return write_common(static_cast<std::uint32_t>(within), data);
    case device_offset: {
      const auto lock = side_.lock();
      return side_.write_config(within, data);
    }
    case notify_offset:
      return notify(within);
    case msix_table_offset:
      return msix_->write_table(within, data);
    default:
      return;
  }
}

std::vector<pci::BarMemory> PciTransport::bar_memory(unsigned index) const {
  std::vector<pci::BarMemory> pieces;
  if (index != shared_memory_bar) return pieces;
  const auto regions = side_.device().shared_memory();
  for (std::size_t i = 0; i < regions.size(); ++i) {
    pieces.push_back({shared_memory_offset(regions, i), regions[i].length, regions[i].host});
  }
  return pieces;
}

void PciTransport::reset() noexcept {
  const auto lock = side_.lock();
  side_.write_status(0);
}

}  // namespace trivet::virtio
