// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <bit>
#include <utility>

#include <trivet/virtio/abi/console.hpp>
#include <trivet/virtio/abi/ids.hpp>
#include <trivet/virtio/config_space.hpp>
#include <trivet/virtio/console.hpp>

#include "console_control.hpp"
#include "console_port.hpp"

namespace trivet::virtio {

namespace {

constexpr std::size_t most_ports = 30;
constexpr std::size_t most_name = 128;
constexpr std::size_t most_socket_path = 107;  // sun_path, and a zero behind it
constexpr std::uint16_t control_queue_size = 32;

bool is_control(unsigned queue) noexcept {
  return queue == abi::console_control_receive_queue || queue == abi::console_control_transmit_queue;
}

Error out_of_bounds(const char* what) {
  return Error(Errc::invalid_argument, "create console", what);
}

Result<void> check(const ConsolePortOptions& port) {
  const auto unprintable = [](unsigned char letter) { return letter < ' ' || letter == 0x7f; };
  if (port.name.size() > most_name || std::ranges::any_of(port.name, unprintable)) {
    return out_of_bounds("port name: at most 128 bytes, no control characters");
  }
  if (port.socket.size() > most_socket_path) return out_of_bounds("port socket: at most 107 bytes");
  const bool has_descriptor = port.input_fd >= 0 || port.output_fd >= 0;
  if (!port.socket.empty() && has_descriptor) return out_of_bounds("port: a socket or descriptors, not both");
  return {};
}

std::vector<std::uint16_t> sizes_of(const ConsoleOptions& options) {
  std::vector<std::uint16_t> sizes(2, options.queue_size);
  if (!options.ports.empty()) sizes.insert(sizes.end(), 2, control_queue_size);
  sizes.insert(sizes.end(), 2 * options.ports.size(), options.queue_size);
  return sizes;
}

}  // namespace

Result<std::unique_ptr<Console>> Console::create(ConsoleOptions options) {
  if (!std::has_single_bit(options.queue_size) || options.queue_size < 2 || options.queue_size > 1024) {
    return out_of_bounds("queue_size: a power of two, 2 to 1024");
  }
  if (options.ports.size() > most_ports) return out_of_bounds("ports: at most 30");
  for (const auto& port : options.ports) TRIVET_TRY(check(port));
  std::unique_ptr<Console> console(new Console(options));
  for (const auto& port : console->ports_) TRIVET_TRY(port->prepare());
  return console;
}

Console::Console(const ConsoleOptions& options)
    : has_size_(options.resizable || (options.columns != 0 && options.rows != 0)),
      queue_sizes_(sizes_of(options)),
      size_(std::uint64_t{options.rows} << 16 | options.columns) {
  ConsolePortOptions first;
  first.input_fd = options.input_fd;
  first.output_fd = options.output_fd;
  first.is_console = true;
  ports_.push_back(std::make_unique<ConsolePort>(0, std::move(first)));
  if (has_size_) ports_[0]->size = std::uint32_t{options.rows} << 16 | options.columns;
  for (const auto& port : options.ports) {
    ports_.push_back(std::make_unique<ConsolePort>(static_cast<unsigned>(ports_.size()), port));
  }
}

Console::~Console() {
  reset();
}

// --- configuration ---

std::uint32_t Console::id() const noexcept {
  return static_cast<std::uint32_t>(abi::DeviceId::console);
}

std::uint64_t Console::features() const noexcept {
  return abi::console_f_emerg_write | (has_size_ ? abi::console_f_size : 0) |
         (multiport() ? abi::console_f_multiport : 0);
}

std::uint32_t Console::config_generation() const noexcept {
  return static_cast<std::uint32_t>(size_.load(std::memory_order_acquire) >> 32);
}

void Console::read_config(std::uint32_t offset, Bytes out) const noexcept {
  const auto size = size_.load(std::memory_order_acquire);
  abi::ConsoleConfig config{};
  config.cols = static_cast<std::uint16_t>(size);
  config.rows = static_cast<std::uint16_t>(size >> 16);
  if (multiport()) config.max_nr_ports = static_cast<std::uint32_t>(ports_.size());
  copy_config(config, offset, out);
}

void Console::write_config(std::uint32_t offset, ConstBytes in) noexcept {
  if (offset != offsetof(abi::ConsoleConfig, emerg_wr) || in.empty()) return;
  ports_[0]->put_now(in.first(1));  // 5.3.4: a character, now or never
}

void Console::resize(std::uint16_t columns, std::uint16_t rows) noexcept {
  if (!has_size_) return;
  auto before = size_.load(std::memory_order_relaxed);
  std::uint64_t after = 0;
  do {
    after = ((before >> 32) + 1) << 32 | std::uint64_t{rows} << 16 | columns;
  } while (!size_.compare_exchange_weak(before, after, std::memory_order_acq_rel));
  (void)resize_port(0, columns, rows);
  const std::lock_guard lock(notifier_mutex_);
  if (notifier_ != nullptr && (activation_.features & abi::console_f_size) != 0) notifier_->config_changed();
}

Result<void> Console::resize_port(unsigned port, std::uint16_t columns, std::uint16_t rows) noexcept {
  auto* const it = port_at(port);
  if (it == nullptr || !it->options().is_console) return Error(Errc::not_found, "resize a console", "no such port");
  it->size = std::uint32_t{rows} << 16 | columns;
  it->resized = true;
  wake_control();
  return {};
}

Result<void> Console::remove_port(unsigned port) noexcept {
  auto* const it = multiport() ? port_at(port) : nullptr;
  if (it == nullptr || it->taken_out.exchange(true)) {
    return Error(Errc::not_found, "remove a console's port", "no such port");
  }
  wake_control();
  return {};
}

void Console::wake_control() noexcept {
  const std::lock_guard lock(notifier_mutex_);
  if (notifier_ != nullptr && (activation_.features & abi::console_f_multiport) != 0) {
    notifier_->wake(abi::console_control_receive_queue);
  }
}

// --- life ---

ConsolePort* Console::port_at(unsigned id) const noexcept {
  return id < ports_.size() ? ports_[id].get() : nullptr;
}

ConsolePort* Console::port_of(unsigned queue) const noexcept {
  if (queue <= abi::console_transmit_queue) return ports_[0].get();
  return control_ ? port_at(queue / 2 - 1) : nullptr;
}

Result<void> Console::activate(Activation activation) {
  const bool multiport = (activation.features & abi::console_f_multiport) != 0;
  Result<void> result;
  for (const auto& port : ports_) {
    if (result) result = port->activate(activation.executor, *activation.notifier, multiport);
  }
  if (!result) {
    for (const auto& port : ports_) port->reset();
    return result;
  }
  if (multiport) control_ = std::make_unique<ConsoleControl>(ports_, *activation.notifier);
  const std::lock_guard lock(notifier_mutex_);
  activation_ = std::move(activation);
  notifier_ = activation_.notifier;
  return {};
}

Result<void> Console::start_queue(Queue queue) {
  const auto index = queue.index();
  if (is_control(index)) {
    if (control_) control_->start_queue(std::move(queue));
  } else if (auto* const port = port_of(index)) {
    port->start_queue(std::move(queue), index % 2);
  }
  return {};
}

std::optional<Queue> Console::stop_queue(unsigned index) noexcept {
  if (is_control(index)) return control_ ? control_->stop_queue(index) : std::nullopt;
  auto* const port = port_of(index);
  return port != nullptr ? port->stop_queue(index % 2) : std::nullopt;
}

Result<More> Console::process(unsigned index) {
  if (is_control(index)) return control_ ? control_->process(index) : Result<More>(More::no);
  auto* const port = port_of(index);
  return port != nullptr ? port->process(index % 2) : Result<More>(More::no);
}

void Console::reset() noexcept {
  control_.reset();
  for (const auto& port : ports_) port->reset();
  const std::lock_guard lock(notifier_mutex_);
  notifier_ = nullptr;
  activation_ = {};
}

}  // namespace trivet::virtio
