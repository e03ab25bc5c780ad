// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cstring>
#include <exception>
#include <fmt/format.h>

#include <boost/endian/conversion.hpp>

#include <trivet/virtio/pci/msix.hpp>
#include <trivet/virtio/pci/registers.hpp>

namespace trivet::pci {
namespace {

constexpr std::uint64_t words_of_entry = reg::msix_entry_size / 4;

}  // namespace

Msix::Msix(IrqRouter& router, std::uint16_t vectors, std::uint32_t device_id, ErrorLog log)
    : router_(router), device_id_(device_id), log_(std::move(log)), entries_(vectors) {}

Msix::~Msix() = default;

std::uint64_t Msix::table_size() const noexcept {
  return entries_.size() * reg::msix_entry_size;
}

std::uint64_t Msix::pending_size() const noexcept {
  return (entries_.size() + 63) / 64 * 8;
}

// --- raising ---

void Msix::signal(std::uint16_t vector) noexcept {
  if (vector >= entries_.size() || !enabled()) return;
  auto& entry = entries_[vector];
  // First the bit, then the look at the mask; who unmasks does it the other way round. So one of the two sees both.
  entry.pending = true;
  raise_if_due(entry);
}

void Msix::raise_if_due(Entry& entry) noexcept {
  if (state_.load() != on || entry.masked) return;
  auto* route = entry.route.load();
  if (route == nullptr || !entry.pending.exchange(false)) return;
  if (const auto done = route->signal(); !done) report(done.error());
}

void Msix::clear_pending() noexcept {
  for (auto& entry : entries_) entry.pending = false;
}

void Msix::set_control(std::uint16_t control) noexcept {
  std::uint32_t state = 0;
  if ((control & reg::msix_control_enable) != 0) state |= on;
  if ((control & reg::msix_control_function_mask) != 0) state |= all_masked;
  const std::lock_guard lock(mutex_);
  state_ = state;
  if (state != on) return;
  for (auto& entry : entries_) raise_if_due(entry);
}

// --- routes ---

MsiMessage Msix::message_of(const Entry& entry) const noexcept {
  return {entry.address_low | std::uint64_t{entry.address_high} << 32, entry.data, device_id_};
}

Result<void> Msix::give_message(Entry& entry) {
  const auto message = message_of(entry);
  if (!entry.owned) {
    TRIVET_ASSIGN(entry.owned, router_.msi_route(message));
    entry.given = message;
    entry.route = entry.owned.get();
  } else if (!(entry.given == message)) {
    TRIVET_TRY(entry.owned->set_message(message));
    entry.given = message;
  }
  return {};
}

Result<void> Msix::reserve(std::uint16_t vector) noexcept {
  if (vector >= entries_.size()) {
    return Error(Errc::out_of_range, "map an MSI-X vector", fmt::format("vector {} of {}", vector, entries_.size()),
                 Blame::guest);
  }
  const std::lock_guard lock(mutex_);
  auto& entry = entries_[vector];
  if (!entry.owned) TRIVET_TRY(give_message(entry));
  return {};
}

/// After a write to the entry. A message is given when it can be used: with the unmasking, as drivers change it masked.
void Msix::update(Entry& entry) noexcept {
  const bool masked = (entry.control & reg::msix_vector_masked) != 0 && !router_.masked_elsewhere(message_of(entry));
  if (masked) {
    entry.masked = true;
    return;
  }
  if (const auto given = give_message(entry); !given) report(given.error());
  entry.masked = false;
  raise_if_due(entry);
}

void Msix::report(const Error& error) const noexcept {
  if (!log_) return;
  try {
    log_(error);
  } catch (const std::exception&) {
    // A log that fails must not take the device with it.
  }
}

// --- the guest's view ---

std::uint32_t Msix::word(std::uint64_t index) const noexcept {
  const auto& entry = entries_[index / words_of_entry];
  switch (index % words_of_entry) {
    case 0:
      return entry.address_low;
    case 1:
      return entry.address_high;
    case 2:
      return entry.data;
    default:
      return entry.control;
  }
}

void Msix::set_word(std::uint64_t index, std::uint32_t value) noexcept {
  auto& entry = entries_[index / words_of_entry];
  switch (index % words_of_entry) {
    case 0:
      entry.address_low = value & ~3U;  // 6.8.2.6: dword aligned
      break;
    case 1:
      entry.address_high = value;
      break;
    case 2:
      entry.data = value;
      break;
    default:
      entry.control = value & reg::msix_vector_masked;
  }
}

void Msix::read_table(std::uint64_t offset, Bytes data) const noexcept {
  std::ranges::fill(data, std::byte{0});
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < data.size() && offset + i < table_size(); ++i) {
    data[i] = static_cast<std::byte>(word((offset + i) / 4) >> 8 * ((offset + i) % 4) & 0xff);
  }
}

void Msix::write_table(std::uint64_t offset, ConstBytes data) noexcept {
  const bool aligned = (data.size() == 4 || data.size() == 8) && offset % data.size() == 0;
  if (!aligned || offset + data.size() > table_size()) return;
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < data.size(); i += 4) {
    std::uint32_t value = 0;
    std::memcpy(&value, data.data() + i, sizeof value);
    set_word((offset + i) / 4, boost::endian::little_to_native(value));
  }
  update(entries_[offset / reg::msix_entry_size]);
}

void Msix::read_pending(std::uint64_t offset, Bytes data) const noexcept {
  for (std::size_t i = 0; i < data.size(); ++i) {
    unsigned bits = 0;
    for (std::size_t bit = 0; bit < 8; ++bit) {
      const auto vector = (offset + i) * 8 + bit;
      if (vector < entries_.size() && entries_[vector].pending) bits |= 1U << bit;
    }
    data[i] = static_cast<std::byte>(bits);
  }
}

}  // namespace trivet::pci
