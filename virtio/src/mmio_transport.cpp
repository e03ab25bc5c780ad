// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cstring>

#include <boost/endian/conversion.hpp>

#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/abi/mmio.hpp>
#include <trivet/virtio/mmio_transport.hpp>

namespace trivet::virtio {

namespace {

/// Whose implementation the device is (virtio 1.2, 4.2.2): "TRVT".
constexpr std::uint32_t vendor = 0x54565254;

void set_low(std::uint64_t& field, std::uint32_t value) {
  field = (field & ~0xffffffffULL) | value;
}
void set_high(std::uint64_t& field, std::uint32_t value) {
  field = (field & 0xffffffffULL) | std::uint64_t{value} << 32;
}

#define TRIVET_MMIO_REGISTER(name) offsetof(abi::MmioRegisters, name)

bool is_queue_register(std::uint32_t offset) {
  switch (offset) {
    case TRIVET_MMIO_REGISTER(queue_num):
    case TRIVET_MMIO_REGISTER(queue_desc_low):
    case TRIVET_MMIO_REGISTER(queue_desc_high):
    case TRIVET_MMIO_REGISTER(queue_driver_low):
    case TRIVET_MMIO_REGISTER(queue_driver_high):
    case TRIVET_MMIO_REGISTER(queue_device_low):
    case TRIVET_MMIO_REGISTER(queue_device_high):
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<std::unique_ptr<MmioTransport>> MmioTransport::create(std::unique_ptr<Device> device, MmioConfig config) {
  DriverSide::Options options{"virtio-mmio", config.memory, config.executor, config.log};
  if (config.doorbells == nullptr) options.transport_features = abi::f_notification_data;
  options.withheld_features = config.withheld_features;
  TRIVET_TRY(DriverSide::check(device.get(), options));
  if (config.interrupt == nullptr) {
    return Error(Errc::invalid_argument, "create virtio transport", "virtio-mmio: it needs an interrupt");
  }
  if (config.shared_memory.size() > device->shared_memory().size()) {
    return Error(Errc::invalid_argument, "create virtio transport",
                 "virtio-mmio: more shared memory is mapped than the device has");
  }
  std::unique_ptr<MmioTransport> transport(new MmioTransport(std::move(device), std::move(config), std::move(options)));
  TRIVET_TRY(transport->create_kicks());
  return transport;
}

MmioTransport::MmioTransport(std::unique_ptr<Device> device, MmioConfig config, DriverSide::Options options)
    : config_(std::move(config)), side_(std::move(device), std::move(options), *this) {}

MmioTransport::~MmioTransport() = default;

Result<void> MmioTransport::create_kicks() {
  kicks_.resize(side_.queue_count());
  for (std::size_t i = 0; i < kicks_.size(); ++i) {
    if (config_.doorbells != nullptr) {
      const DoorbellSpec spec{.space = DoorbellSpec::Space::memory,
                              .at = {config_.base.value + TRIVET_MMIO_REGISTER(queue_notify)},
                              .size = 4,
                              .value = i};
      auto doorbell = config_.doorbells->create(spec);
      if (doorbell) {
        kicks_[i].doorbell = std::move(*doorbell);
        continue;
      }
      side_.host_error(doorbell.error());
    }
    TRIVET_ASSIGN(kicks_[i].event, Event::create());
  }
  return {};
}

int MmioTransport::kick_fd(unsigned queue) const noexcept {
  if (queue >= kicks_.size()) return -1;
  return kicks_[queue].doorbell ? kicks_[queue].doorbell->fd() : kicks_[queue].event->fd();
}

// --- accesses ---

void MmioTransport::read(std::uint64_t offset, Bytes out) noexcept {
  if (offset >= abi::mmio_config_offset) {
    const auto lock = side_.lock();
    return side_.read_config(offset - abi::mmio_config_offset, out);
  }
  std::ranges::fill(out, std::byte{0});
  if (out.size() != 4 || offset % 4 != 0) return;
  const auto value = boost::endian::native_to_little(read_register(static_cast<std::uint32_t>(offset)));
  std::memcpy(out.data(), &value, sizeof value);
}

void MmioTransport::write(std::uint64_t offset, ConstBytes in) noexcept {
  if (offset >= abi::mmio_config_offset) {
    const auto lock = side_.lock();
    return side_.write_config(offset - abi::mmio_config_offset, in);
  }
  if (in.size() != 4 || offset % 4 != 0) return;
  std::uint32_t value = 0;
  std::memcpy(&value, in.data(), sizeof value);
  write_register(static_cast<std::uint32_t>(offset), boost::endian::little_to_native(value));
}

void MmioTransport::reset() noexcept {
  const auto lock = side_.lock();
  side_.write_status(0);
}

std::uint32_t MmioTransport::read_register(std::uint32_t offset) noexcept {
  if (offset == TRIVET_MMIO_REGISTER(interrupt_status)) return interrupt_status_.load(std::memory_order_acquire);

  const auto lock = side_.lock();
  const auto* queue = side_.selected();
  switch (offset) {
    case TRIVET_MMIO_REGISTER(magic_value):
      return abi::mmio_magic;
    case TRIVET_MMIO_REGISTER(version):
      return abi::mmio_version;
    case TRIVET_MMIO_REGISTER(device_id):
      return side_.device().id();
    case TRIVET_MMIO_REGISTER(vendor_id):
      return vendor;
    case TRIVET_MMIO_REGISTER(device_features):
      return side_.device_features();
    case TRIVET_MMIO_REGISTER(queue_num_max):
      return side_.largest_size();
    case TRIVET_MMIO_REGISTER(queue_ready):
      return queue != nullptr && queue->ready ? 1 : 0;
    case TRIVET_MMIO_REGISTER(status):
      return side_.status();
    case TRIVET_MMIO_REGISTER(config_generation):
      return side_.device().config_generation();
    case TRIVET_MMIO_REGISTER(shm_len_low):
    case TRIVET_MMIO_REGISTER(shm_len_high):
    case TRIVET_MMIO_REGISTER(shm_base_low):
    case TRIVET_MMIO_REGISTER(shm_base_high):
      return read_shared_memory_register(offset);
    default:  // write-only, reserved; QueueReset, which is over when its write returns
      return 0;
  }
}

/// 4.2.2: of a region that is not there, all ones.
std::uint32_t MmioTransport::read_shared_memory_register(std::uint32_t offset) const noexcept {
  const auto regions = side_.device().shared_memory();
  const auto* region = find_shared_memory(regions, selected_shared_memory_);
  const auto index = region == nullptr ? regions.size() : static_cast<std::size_t>(region - regions.data());
  const bool mapped = index < config_.shared_memory.size();
  const std::uint64_t length = mapped ? region->length : ~std::uint64_t{0};
  const std::uint64_t base = mapped ? config_.shared_memory[index].value : ~std::uint64_t{0};
  switch (offset) {
    case TRIVET_MMIO_REGISTER(shm_len_low):
      return static_cast<std::uint32_t>(length);
    case TRIVET_MMIO_REGISTER(shm_len_high):
      return static_cast<std::uint32_t>(length >> 32);
    case TRIVET_MMIO_REGISTER(shm_base_low):
      return static_cast<std::uint32_t>(base);
    default:
      return static_cast<std::uint32_t>(base >> 32);
  }
}

void MmioTransport::write_register(std::uint32_t offset, std::uint32_t value) noexcept {
  if (offset == TRIVET_MMIO_REGISTER(queue_notify)) return notify(value);
  if (offset == TRIVET_MMIO_REGISTER(interrupt_ack)) {
    interrupt_status_.fetch_and(~value, std::memory_order_acq_rel);
    return;
  }

  const auto lock = side_.lock();
  switch (offset) {
    case TRIVET_MMIO_REGISTER(device_features_sel):
      side_.device_features_page = value;
      return;
    case TRIVET_MMIO_REGISTER(driver_features_sel):
      side_.driver_features_page = value;
      return;
    case TRIVET_MMIO_REGISTER(driver_features):
      return side_.write_driver_features(value);
    case TRIVET_MMIO_REGISTER(queue_sel):
      side_.selected_queue = value;
      return;
    case TRIVET_MMIO_REGISTER(status):
      return side_.write_status(value);
    case TRIVET_MMIO_REGISTER(queue_ready):
      return write_queue_ready(value);
    case TRIVET_MMIO_REGISTER(queue_reset):
      return write_queue_reset(value);
    case TRIVET_MMIO_REGISTER(shm_sel):
      selected_shared_memory_ = value;
      return;
    default:
      if (!write_queue_register(offset, value)) side_.refuse("a register that is read-only or reserved", offset);
  }
}

bool MmioTransport::write_queue_register(std::uint32_t offset, std::uint32_t value) noexcept {
  if (!is_queue_register(offset)) return false;
  auto* queue = side_.selected_open(offset);
  if (queue == nullptr) return true;
  switch (offset) {
    case TRIVET_MMIO_REGISTER(queue_num):
      queue->size = value;
      break;
    case TRIVET_MMIO_REGISTER(queue_desc_low):
      set_low(queue->descriptor_area, value);
      break;
    case TRIVET_MMIO_REGISTER(queue_desc_high):
      set_high(queue->descriptor_area, value);
      break;
    case TRIVET_MMIO_REGISTER(queue_driver_low):
      set_low(queue->driver_area, value);
      break;
    case TRIVET_MMIO_REGISTER(queue_driver_high):
      set_high(queue->driver_area, value);
      break;
    case TRIVET_MMIO_REGISTER(queue_device_low):
      set_low(queue->device_area, value);
      break;
    case TRIVET_MMIO_REGISTER(queue_device_high):
      set_high(queue->device_area, value);
      break;
    default:
      break;
  }
  return true;
}

void MmioTransport::write_queue_ready(std::uint32_t value) {
  if (value > 1) return side_.refuse("QueueReady", value);
  return value == 0 ? side_.stop_selected() : side_.enable_selected();
}

void MmioTransport::write_queue_reset(std::uint32_t value) {
  if (value != 1) return side_.refuse("QueueReset", value);
  side_.reset_selected();
}

void MmioTransport::notify(std::uint32_t value) noexcept {
  // 2.9: what else the driver says with VIRTIO_F_NOTIFICATION_DATA, the ring says too.
  const auto queue = (side_.features() & abi::f_notification_data) != 0 ? value & 0xffff : value;
  if (queue >= kicks_.size()) return side_.refuse("QueueNotify for queue", queue);
  if (kicks_[queue].event) return kicks_[queue].event->signal();
  side_.kick(queue);
}

void MmioTransport::interrupt(std::uint32_t cause) noexcept {
  interrupt_status_.fetch_or(cause, std::memory_order_acq_rel);
  if (const auto done = config_.interrupt->signal(); !done) side_.host_error(done.error());
}

void MmioTransport::used(unsigned) noexcept {
  interrupt(abi::interrupt_used);
}

void MmioTransport::config_changed() noexcept {
  interrupt(abi::interrupt_config);
}

#undef TRIVET_MMIO_REGISTER

}  // namespace trivet::virtio
