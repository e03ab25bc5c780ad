// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <bit>
#include <exception>
#include <fmt/format.h>

#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/driver_side.hpp>

namespace trivet::virtio {

namespace {

/// What these transports and their rings add to the features of any device.
constexpr std::uint64_t home_features = abi::f_version_1 | abi::f_indirect_desc | abi::f_event_idx |
                                        abi::f_ring_packed | abi::f_in_order | abi::f_ring_reset;

constexpr std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
constexpr std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}

}  // namespace

Result<void> DriverSide::check(const Device* device, const Options& options) {
  constexpr auto operation = "create virtio transport";
  if (device == nullptr || !options.memory || !options.executor) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("{}: it needs a device, memory and an executor", options.transport));
  }
  const auto sizes = device->queue_sizes();
  if (std::ranges::any_of(sizes, [](auto size) { return !std::has_single_bit(size) || size > abi::max_queue_size; })) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("{}: a queue's size is no power of two up to 32768", options.transport));
  }
  return check_shared_memory(device->shared_memory());
}

DriverSide::DriverSide(std::unique_ptr<Device> device, Options options, TransportWiring& wiring)
    : device_(std::move(device)),
      options_(std::move(options)),
      wiring_(wiring),
      host_(*device_, options_.executor, *this, options_.log),
      waiting_(device_->queue_sizes().size()) {
  for (unsigned i = 0; i < waiting_.size(); ++i) queues_.push_back(fresh_queue(i));
}

DriverSide::~DriverSide() = default;

// --- features ---

std::uint64_t DriverSide::offered() const noexcept {
  const auto home = (home_features | options_.transport_features) & ~(options_.withheld_features & ~abi::f_version_1);
  return (device_->features() & abi::device_features) | home;
}

std::uint64_t DriverSide::negotiated() const noexcept {
  return driver_features_[0] | std::uint64_t{driver_features_[1]} << 32;
}

std::uint32_t DriverSide::device_features() const noexcept {
  if (device_features_page == 0) return low(offered());
  return device_features_page == 1 ? high(offered()) : 0;
}

std::uint32_t DriverSide::driver_features() const noexcept {
  return driver_features_page < driver_features_.size() ? driver_features_[driver_features_page] : 0;
}

void DriverSide::write_driver_features(std::uint32_t value) noexcept {
  constexpr auto before = abi::status_acknowledge | abi::status_driver;
  if (status() != before || driver_features_page >= driver_features_.size()) {
    return refuse("features outside DRIVER..FEATURES_OK or beyond bit 127, value", value);
  }
  driver_features_[driver_features_page] = value;
}

bool DriverSide::features_acceptable() const noexcept {
  return (negotiated() & ~offered()) == 0 && (negotiated() & abi::f_version_1) != 0 && driver_features_[2] == 0 &&
         driver_features_[3] == 0;
}

// --- the status machine ---

void DriverSide::write_status(std::uint32_t value) noexcept {
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
  // DRIVER says ACKNOWLEDGE, too: U-Boot up to 2023.01 forgets that after its reset.
  if (now == 0 && value == abi::status_driver) value = driver;
  if ((now == 0 && (value == acknowledge || value == driver)) || (now == acknowledge && value == driver)) {
    status_.fetch_or(value, std::memory_order_acq_rel);
  } else if (now == driver && value == features_ok) {
    if (!features_acceptable()) return refuse("FEATURES_OK without VERSION_1 or with features not offered", value);
    agreed_.store(negotiated(), std::memory_order_release);
    status_.fetch_or(value, std::memory_order_acq_rel);
  } else if (now == features_ok && value == driver_ok) {
    activate();
  } else {
    refuse("a status out of order", value);
  }
}

void DriverSide::activate() {
  // First the bit: the device may notify from the moment it is active.
  status_.fetch_or(abi::status_driver_ok, std::memory_order_acq_rel);
  Result<void> done = Error(Errc::bad_state, "activate", "the event loop has ended", Blame::host);
  if (!loop_ended_) {
    std::vector<DeviceHost::Start> starts;
    for (unsigned i = 0; i < waiting_.size(); ++i) {
      if (waiting_[i]) starts.push_back({std::move(*waiting_[i]), wiring_.connect_queue(i)});
    }
    done = host_.activate(negotiated(), std::move(starts));
  }
  for (auto& queue : waiting_) queue.reset();
  if (!done) {
    host_.host_error(done.error());
    needs_reset();
  }
}

void DriverSide::reset() {
  if ((status() & (abi::status_driver_ok | abi::status_needs_reset)) != 0 && !host_.reset()) loop_ended_ = true;
  for (unsigned i = 0; i < queues_.size(); ++i) {
    // A loop that has ended may still hold the descriptors.
    if (!loop_ended_) wiring_.disconnect_queue(i);
    waiting_[i].reset();
    queues_[i] = fresh_queue(i);
  }
  device_features_page = 0;
  driver_features_page = 0;
  selected_queue = 0;
  driver_features_ = {};
  agreed_.store(0, std::memory_order_release);
  wiring_.was_reset();
  status_.store(0, std::memory_order_release);
}

bool DriverSide::running() const noexcept {
  constexpr auto stopped = abi::status_failed | abi::status_needs_reset;
  return (status() & abi::status_driver_ok) != 0 && (status() & stopped) == 0;
}

/// The one place that sets DEVICE_NEEDS_RESET (virtio 1.2, 2.1.2).
void DriverSide::needs_reset() noexcept {
  const auto before = status_.fetch_or(abi::status_needs_reset, std::memory_order_acq_rel);
  if ((before & abi::status_driver_ok) != 0) wiring_.config_changed();
}

// --- the device's configuration ---

void DriverSide::read_config(std::uint64_t offset, Bytes out) const noexcept {
  if (offset > 0xffffffffU) return (void)std::ranges::fill(out, std::byte{0});
  device_->read_config(static_cast<std::uint32_t>(offset), out);
}

void DriverSide::write_config(std::uint64_t offset, ConstBytes in) noexcept {
  if (offset <= 0xffffffffU) device_->write_config(static_cast<std::uint32_t>(offset), in);
}

// --- small things ---

void DriverSide::refuse(const char* what, std::uint32_t value) noexcept {
  // Drivers that probe do some of this, and a hostile one does it for ever: a few lines tell enough.
  constexpr std::uint32_t told = 8;
  if (!options_.log || refused_.fetch_add(1, std::memory_order_relaxed) >= told) return;
  std::array<char, 200> text{};
  const auto end = fmt::format_to_n(text.data(), text.size(), "the driver wrote {} {:#x}: ignored", what, value);
  try {
    options_.log(
        Error::malformed(options_.transport, {text.data(), std::min(end.size, text.size())}).within(device_->name()));
  } catch (const std::exception&) {
    // A log that fails must not take the device with it.
  }
}

}  // namespace trivet::virtio
