// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <bit>
#include <cstring>
#include <exception>
#include <fmt/format.h>

#include <boost/endian/conversion.hpp>

#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/abi/mmio.hpp>
#include <trivet/virtio/mmio_transport.hpp>

namespace trivet::virtio {

namespace {

/// What this transport and its rings add to the features of any device.
constexpr std::uint64_t home_features = abi::f_version_1 | abi::f_indirect_desc | abi::f_event_idx | abi::f_ring_reset;

/// Whose implementation the device is (virtio 1.2, 4.2.2): "TRVT".
constexpr std::uint32_t vendor = 0x54565254;

constexpr std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
constexpr std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}
void set_low(std::uint64_t& field, std::uint32_t value) {
  field = (field & ~0xffffffffULL) | value;
}
void set_high(std::uint64_t& field, std::uint32_t value) {
  field = low(field) | std::uint64_t{value} << 32;
}

#define TRIVET_MMIO_REGISTER(name) offsetof(abi::MmioRegisters, name)

}  // namespace

Result<std::unique_ptr<MmioTransport>> MmioTransport::create(std::unique_ptr<Device> device, MmioConfig config) {
  if (!device || !config.memory || config.interrupt == nullptr || !config.executor) {
    return Error(Errc::invalid_argument, "create MMIO transport",
                 "it needs a device, memory, an executor and an interrupt");
  }
  const auto sizes = device->queue_sizes();
  if (std::ranges::any_of(sizes, [](auto size) { return !std::has_single_bit(size) || size > abi::max_queue_size; })) {
    return Error(Errc::invalid_argument, "create MMIO transport", "a queue's size is no power of two up to 32768");
  }
  std::unique_ptr<MmioTransport> transport(new MmioTransport(std::move(device), std::move(config)));
  TRIVET_TRY(transport->create_kicks());
  return transport;
}

MmioTransport::MmioTransport(std::unique_ptr<Device> device, MmioConfig config)
    : device_(std::move(device)),
      config_(std::move(config)),
      host_(*device_, config_.executor, *this, config_.log),
      waiting_(device_->queue_sizes().size()) {
  registers_.queues.resize(waiting_.size());
}

MmioTransport::~MmioTransport() = default;

Result<void> MmioTransport::create_kicks() {
  kicks_.resize(waiting_.size());
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
      host_.host_error(doorbell.error());
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
    if (offset - abi::mmio_config_offset > 0xffffffffU) return (void)std::ranges::fill(out, std::byte{0});
    const std::lock_guard lock(mutex_);
    return device_->read_config(static_cast<std::uint32_t>(offset - abi::mmio_config_offset), out);
  }
  std::ranges::fill(out, std::byte{0});
  if (out.size() != 4 || offset % 4 != 0) return;
  const auto value = boost::endian::native_to_little(read_register(static_cast<std::uint32_t>(offset)));
  std::memcpy(out.data(), &value, sizeof value);
}

void MmioTransport::write(std::uint64_t offset, ConstBytes in) noexcept {
  if (offset >= abi::mmio_config_offset) {
    if (offset - abi::mmio_config_offset > 0xffffffffU) return;
    const std::lock_guard lock(mutex_);
    return device_->write_config(static_cast<std::uint32_t>(offset - abi::mmio_config_offset), in);
  }
  if (in.size() != 4 || offset % 4 != 0) return;
  std::uint32_t value = 0;
  std::memcpy(&value, in.data(), sizeof value);
  write_register(static_cast<std::uint32_t>(offset), boost::endian::little_to_native(value));
}

std::uint32_t MmioTransport::read_register(std::uint32_t offset) noexcept {
  if (offset == TRIVET_MMIO_REGISTER(interrupt_status)) return interrupt_status_.load(std::memory_order_acquire);

  const std::lock_guard lock(mutex_);
  const auto* queue = selected();
  switch (offset) {
    case TRIVET_MMIO_REGISTER(magic_value):
      return abi::mmio_magic;
    case TRIVET_MMIO_REGISTER(version):
      return abi::mmio_version;
    case TRIVET_MMIO_REGISTER(device_id):
      return device_->id();
    case TRIVET_MMIO_REGISTER(vendor_id):
      return vendor;
    case TRIVET_MMIO_REGISTER(device_features):
      if (registers_.device_features_page == 0) return low(offered());
      return registers_.device_features_page == 1 ? high(offered()) : 0;
    case TRIVET_MMIO_REGISTER(queue_num_max):
      return queue != nullptr ? device_->queue_sizes()[registers_.selected_queue] : 0;
    case TRIVET_MMIO_REGISTER(queue_ready):
      return queue != nullptr && queue->ready ? 1 : 0;
    case TRIVET_MMIO_REGISTER(status):
      return status();
    case TRIVET_MMIO_REGISTER(config_generation):
      return device_->config_generation();
    case TRIVET_MMIO_REGISTER(shm_len_low):  // there are no shared memory regions, whichever is selected
    case TRIVET_MMIO_REGISTER(shm_len_high):
    case TRIVET_MMIO_REGISTER(shm_base_low):
    case TRIVET_MMIO_REGISTER(shm_base_high):
      return 0xffffffff;
    default:  // write-only, reserved; QueueReset, which is over when its write returns
      return 0;
  }
}

void MmioTransport::write_register(std::uint32_t offset, std::uint32_t value) noexcept {
  if (offset == TRIVET_MMIO_REGISTER(queue_notify)) return notify(value);
  if (offset == TRIVET_MMIO_REGISTER(interrupt_ack)) {
    interrupt_status_.fetch_and(~value, std::memory_order_acq_rel);
    return;
  }

  const std::lock_guard lock(mutex_);
  switch (offset) {
    case TRIVET_MMIO_REGISTER(device_features_sel):
      registers_.device_features_page = value;
      return;
    case TRIVET_MMIO_REGISTER(driver_features_sel):
      registers_.driver_features_page = value;
      return;
    case TRIVET_MMIO_REGISTER(driver_features):
      return write_driver_features(value);
    case TRIVET_MMIO_REGISTER(queue_sel):
      registers_.selected_queue = value;
      return;
    case TRIVET_MMIO_REGISTER(status):
      return write_status(value);
    case TRIVET_MMIO_REGISTER(queue_ready):
      return write_queue_ready(value);
    case TRIVET_MMIO_REGISTER(queue_reset):
      return write_queue_reset(value);
    case TRIVET_MMIO_REGISTER(shm_sel):
      return;
    default:
      if (!write_queue_register(offset, value)) refuse("a register that is read-only or reserved", offset);
  }
}

bool MmioTransport::write_queue_register(std::uint32_t offset, std::uint32_t value) noexcept {
  QueueRegisters nowhere;
  auto* queue = selected();
  const bool open = queue != nullptr && queue_settings_open(*queue);
  auto& target = open ? *queue : nowhere;
  switch (offset) {
    case TRIVET_MMIO_REGISTER(queue_num):
      target.size = value;
      break;
    case TRIVET_MMIO_REGISTER(queue_desc_low):
      set_low(target.descriptor_area, value);
      break;
    case TRIVET_MMIO_REGISTER(queue_desc_high):
      set_high(target.descriptor_area, value);
      break;
    case TRIVET_MMIO_REGISTER(queue_driver_low):
      set_low(target.driver_area, value);
      break;
    case TRIVET_MMIO_REGISTER(queue_driver_high):
      set_high(target.driver_area, value);
      break;
    case TRIVET_MMIO_REGISTER(queue_device_low):
      set_low(target.device_area, value);
      break;
    case TRIVET_MMIO_REGISTER(queue_device_high):
      set_high(target.device_area, value);
      break;
    default:
      return false;
  }
  if (!open) refuse("a queue setting outside FEATURES_OK..DRIVER_OK, of no or an enabled queue, register", offset);
  return true;
}

void MmioTransport::notify(std::uint32_t queue) noexcept {
  if (queue >= kicks_.size()) return refuse("QueueNotify for queue", queue);
  if (kicks_[queue].event) return kicks_[queue].event->signal();
  host_.kick(queue);
}

// --- the status machine ---

void MmioTransport::write_driver_features(std::uint32_t value) noexcept {
  constexpr auto before = abi::status_acknowledge | abi::status_driver;
  if (status() != before || registers_.driver_features_page >= registers_.driver_features.size()) {
    return refuse("DriverFeatures outside DRIVER..FEATURES_OK or beyond bit 127, value", value);
  }
  registers_.driver_features[registers_.driver_features_page] = value;
}

void MmioTransport::write_status(std::uint32_t value) noexcept {
  if (value == 0) return reset();

  const auto now = status();
  if ((value & abi::status_failed) != 0) {
    status_.fetch_or(abi::status_failed, std::memory_order_acq_rel);
    return;
  }
  if (value == now) return;
  if ((now & (abi::status_failed | abi::status_needs_reset)) != 0)
    return refuse("status while the device needs a reset", value);

  constexpr auto acknowledge = abi::status_acknowledge;
  constexpr auto driver = acknowledge | abi::status_driver;
  constexpr auto features_ok = driver | abi::status_features_ok;
  constexpr auto driver_ok = features_ok | abi::status_driver_ok;
  if ((now == 0 && (value == acknowledge || value == driver)) || (now == acknowledge && value == driver)) {
    status_.fetch_or(value, std::memory_order_acq_rel);
  } else if (now == driver && value == features_ok) {
    if (!features_acceptable()) return refuse("FEATURES_OK without VERSION_1 or with features not offered", value);
    status_.fetch_or(value, std::memory_order_acq_rel);
  } else if (now == features_ok && value == driver_ok) {
    activate();
  } else {
    refuse("a status out of order", value);
  }
}

bool MmioTransport::features_acceptable() const noexcept {
  return (negotiated() & ~offered()) == 0 && (negotiated() & abi::f_version_1) != 0 &&
         registers_.driver_features[2] == 0 && registers_.driver_features[3] == 0;
}

void MmioTransport::activate() {
  std::vector<DeviceHost::Start> starts;
  for (unsigned i = 0; i < waiting_.size(); ++i) {
    if (waiting_[i]) starts.push_back({std::move(*waiting_[i]), kick_fd(i)});
    waiting_[i].reset();
  }
  // First the bit: the device may raise its interrupt from the moment it is active.
  status_.fetch_or(abi::status_driver_ok, std::memory_order_acq_rel);
  if (const auto done = host_.activate(negotiated(), std::move(starts)); !done) {
    host_.host_error(done.error());
    needs_reset();
  }
}

void MmioTransport::reset() {
  if ((status() & (abi::status_driver_ok | abi::status_needs_reset)) != 0) host_.reset();
  for (auto& queue : waiting_) queue.reset();
  const auto queues = registers_.queues.size();
  registers_ = Registers{};
  registers_.queues.resize(queues);
  interrupt_status_.store(0, std::memory_order_release);
  status_.store(0, std::memory_order_release);
}

// --- small things ---

std::uint64_t MmioTransport::offered() const noexcept {
  return (device_->features() & abi::device_features) | home_features;
}

std::uint64_t MmioTransport::negotiated() const noexcept {
  return registers_.driver_features[0] | std::uint64_t{registers_.driver_features[1]} << 32;
}

void MmioTransport::refuse(const char* what, std::uint32_t value) noexcept {
  // Drivers that probe do some of this, and a hostile one does it for ever: a few lines tell enough.
  constexpr std::uint32_t told = 8;
  if (!config_.log || refused_.fetch_add(1, std::memory_order_relaxed) >= told) return;
  std::array<char, 200> text{};
  const auto end = fmt::format_to_n(text.data(), text.size(), "the driver wrote {} {:#x}: ignored", what, value);
  try {
    config_.log(
        Error::malformed("virtio-mmio", {text.data(), std::min(end.size, text.size())}).within(device_->name()));
  } catch (const std::exception&) {
    // A log that fails must not take the device with it.
  }
}

void MmioTransport::interrupt(std::uint32_t cause) noexcept {
  interrupt_status_.fetch_or(cause, std::memory_order_acq_rel);
  if (const auto done = config_.interrupt->signal(); !done) host_.host_error(done.error());
}

void MmioTransport::used(unsigned) noexcept {
  interrupt(abi::interrupt_used);
}

void MmioTransport::config_changed() noexcept {
  interrupt(abi::interrupt_config);
}

/// The one place that sets DEVICE_NEEDS_RESET (virtio 1.2, 2.1.2).
void MmioTransport::needs_reset() noexcept {
  const auto before = status_.fetch_or(abi::status_needs_reset, std::memory_order_acq_rel);
  if ((before & abi::status_driver_ok) != 0) interrupt(abi::interrupt_config);
}

#undef TRIVET_MMIO_REGISTER

}  // namespace trivet::virtio
