// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "console_control.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include <trivet/virtio/writer.hpp>

namespace trivet::virtio {
namespace {

constexpr std::size_t most_message = sizeof(abi::ConsoleControl) + 128;  // with the longest name

/// The message of one of `ConsoleNews`; its bytes, in `buffer`.
ConstBytes compose(const ConsolePort& port, unsigned news, std::array<std::byte, most_message>& buffer) noexcept {
  abi::ConsoleControl message{};
  message.id = port.id();
  ConstBytes more;
  abi::ConsoleResize size{};
  message.value = std::uint16_t{1};
  switch (news) {
    case news_add:
      message.event = abi::console_port_add;
      break;
    case news_console:
      message.event = abi::console_console_port;
      break;
    case news_name:
      message.event = abi::console_port_name;
      more = std::as_bytes(std::span(port.options().name));
      break;
    case news_size: {
      const auto now = port.size.load(std::memory_order_relaxed);
      message.event = abi::console_resize;
      message.value = std::uint16_t{0};
      size.cols = static_cast<std::uint16_t>(now);
      size.rows = static_cast<std::uint16_t>(now >> 16);
      more = std::as_bytes(std::span(&size, 1));
      break;
    }
    case news_remove:
      message.event = abi::console_port_remove;
      break;
    default:
      message.event = abi::console_port_open;
      message.value = static_cast<std::uint16_t>(news == news_open ? 1 : 0);
  }
  std::memcpy(buffer.data(), &message, sizeof message);
  if (!more.empty()) std::memcpy(buffer.data() + sizeof message, more.data(), more.size());
  return std::span(buffer).first(sizeof message + more.size());
}

}  // namespace

void ConsoleControl::start_queue(Queue queue) {
  auto& slot = queue.index() == abi::console_control_receive_queue ? to_driver_ : from_driver_;
  slot = std::move(queue);
}

std::optional<Queue> ConsoleControl::stop_queue(unsigned index) noexcept {
  return std::exchange(index == abi::console_control_receive_queue ? to_driver_ : from_driver_, std::nullopt);
}

Result<More> ConsoleControl::process(unsigned index) {
  if (index == abi::console_control_receive_queue) return tell();
  return listen();
}

Result<More> ConsoleControl::tell() {
  if (!to_driver_) return More::no;
  to_driver_->disable_kicks();  // buffers wait for news, not the other way round
  Result<bool> told = true;
  unsigned budget = to_driver_->size();  // some buffers hold nothing
  for (const auto& port : ports_) {
    port->catch_up();
    for (; told && *told && port->news() != 0 && budget != 0; --budget) told = tell_one(*port);
  }
  publish(*to_driver_);
  if (!told) return told.error();
  return budget != 0 ? More::no : More::yes;
}

Result<bool> ConsoleControl::tell_one(ConsolePort& port) {
  auto& queue = *to_driver_;
  TRIVET_ASSIGN(auto chain, queue.pop());
  while (!chain) {
    if (!queue.enable_kicks()) return false;
    TRIVET_ASSIGN(chain, queue.pop());
  }
  TRIVET_ASSIGN(auto writer, Writer::create(*chain));
  const unsigned news = 1U << std::countr_zero(port.news());
  std::array<std::byte, most_message> buffer;
  const auto message = compose(port, news, buffer);
  // One that does not hold it goes back as it is: the next may.
  if (writer.left() >= message.size()) {
    TRIVET_TRY(writer.write(message));
    port.told(news);
    if (news == news_add) port.told_added();
  }
  TRIVET_TRY(queue.push_used(chain->id(), writer.written()));
  return true;
}

Result<More> ConsoleControl::listen() {
  if (!from_driver_) return More::no;
  auto& queue = *from_driver_;
  queue.disable_kicks();
  auto more = More::yes;
  for (unsigned budget = queue.size(); budget > 0; --budget) {
    TRIVET_ASSIGN(const auto chain, queue.pop());
    if (!chain) {
      if (queue.enable_kicks()) continue;
      more = More::no;
      break;
    }
    TRIVET_ASSIGN(auto reader, Reader::create(*chain));
    if (reader.left() >= sizeof(abi::ConsoleControl)) {
      TRIVET_ASSIGN(const auto message, reader.read_object<abi::ConsoleControl>());
      heard(message);
    }
    TRIVET_TRY(queue.push_used(chain->id(), 0));
  }
  publish(queue);
  TRIVET_ASSIGN(const auto told, tell());
  return told == More::yes ? told : more;
}

void ConsoleControl::heard(const abi::ConsoleControl& message) noexcept {
  const bool value = message.value.value() != 0;
  if (message.event.value() == abi::console_device_ready) {
    for (const auto& port : ports_) {
      if (value) port->driver_starts();
    }
    return;
  }
  const auto id = message.id.value();
  if (id >= ports_.size() || !ports_[id]->added()) return;
  if (message.event.value() == abi::console_port_ready) ports_[id]->driver_ready(value);
  if (message.event.value() == abi::console_port_open) ports_[id]->driver_opened(value);
}

void ConsoleControl::publish(Queue& queue) noexcept {
  if (queue.should_notify()) notifier_.used(queue.index());
}

}  // namespace trivet::virtio
