// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "test_bus.hpp"

#include <algorithm>
#include <utility>

namespace conformance {
namespace {

using namespace trivet_guest;

std::uint64_t value_of(trivet::ConstBytes data) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < data.size(); ++i) value |= std::to_integer<std::uint64_t>(data[i]) << (8 * i);
  return value;
}

bool within(std::uint64_t at, std::size_t size, std::uint64_t start, std::uint64_t length) {
  return at >= start && at - start <= length && size <= length - (at - start);
}

constexpr std::uint16_t sequence_offset = 0x20;
constexpr std::uint16_t legacy_end = 0x500;

}  // namespace

TestBus::TestBus() {
  trace_.reserve(4096);
  for (std::size_t i = 0; i < window_.size(); ++i) window_[i] = test_pattern(i);
}

void TestBus::record(AccessKind kind, std::uint64_t at, trivet::ConstBytes data, bool posted) {
  trace_.push_back({kind, at, static_cast<std::uint32_t>(data.size()), value_of(data), posted});
}

void TestBus::pio_read(std::uint16_t port, trivet::Bytes data) noexcept {
  if (legacy != nullptr && port < legacy_end) return legacy->pio_read(port, data);
  const std::lock_guard lock(mutex_);
  if (within(port, data.size(), port_window, port_window_size)) {
    for (std::size_t i = 0; i < data.size(); ++i) {
      const auto offset = static_cast<std::size_t>(port - port_window) + i;
      data[i] = std::byte{offset >= sequence_offset ? sequence_++ : test_pattern(offset)};
    }
  } else {
    std::ranges::fill(data, std::byte{0xff});
    ++holes_;
  }
  record(AccessKind::port_in, port, data);
}

void TestBus::pio_write(std::uint16_t port, trivet::ConstBytes data) noexcept {
  if (legacy != nullptr && port < legacy_end) return legacy->pio_write(port, data);
  if (port == port_text) {
    const std::lock_guard lock(mutex_);
    for (const auto byte : data) text_.push_back(static_cast<char>(byte));
    return;
  }
  if (data.size() == 4 && report(port, value_of(data))) return;
  const std::lock_guard lock(mutex_);
  const bool claimed = within(port, data.size(), port_window, port_window_size) || port == port_doorbell;
  if (!claimed) ++holes_;
  record(AccessKind::port_out, port, data);
}

bool TestBus::report(std::uint16_t port, std::uint64_t value) {
  const auto word = static_cast<std::uint32_t>(value);
  if (port == port_result) {
    result_ = word;
    finished_ = true;
    if (on_result) on_result();
    return true;
  }
  if (port == port_sync) {
    if (on_stage && on_stage(word) && on_stop) on_stop(word);
    return true;
  }
  if (port == port_value) {
    if (on_value) on_value(word);
    return true;
  }
  return false;
}

void TestBus::mmio_read(trivet::GuestAddress at, trivet::Bytes data) noexcept {
  const std::lock_guard lock(mutex_);
  if (within(at.value, data.size(), mmio_window, window_.size())) {
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = std::byte{window_[at.value - mmio_window + i]};
  } else {
    std::ranges::fill(data, std::byte{0xff});
    ++holes_;
  }
  record(AccessKind::load, at.value, data);
}

void TestBus::mmio_write(trivet::GuestAddress at, trivet::ConstBytes data, trivet::Posted posted) noexcept {
  const std::lock_guard lock(mutex_);
  if (within(at.value, data.size(), mmio_window, window_.size())) {
    for (std::size_t i = 0; i < data.size(); ++i) {
      window_[at.value - mmio_window + i] = std::to_integer<std::uint8_t>(data[i]);
    }
  } else if (!within(at.value, data.size(), mmio_doorbell, 0x1000) &&
             !within(at.value, data.size(), mmio_posted, 0x1000)) {
    ++holes_;
  }
  record(AccessKind::store, at.value, data, posted == trivet::Posted::yes);
}

std::vector<Access> TestBus::take_trace() {
  const std::lock_guard lock(mutex_);
  return std::exchange(trace_, {});
}

std::size_t TestBus::trace_size() {
  const std::lock_guard lock(mutex_);
  return trace_.size();
}

std::string TestBus::text() {
  const std::lock_guard lock(mutex_);
  return text_;
}

void TestBus::restart() {
  const std::lock_guard lock(mutex_);
  finished_ = false;
  result_ = 0;
  text_.clear();
  trace_.clear();
}

}  // namespace conformance
