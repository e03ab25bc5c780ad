// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <bit>
#include <fmt/format.h>

#include <trivet/virtio/pci/config_space.hpp>

namespace trivet::pci {
namespace {

constexpr std::uint64_t least_bar = 16;
constexpr std::uint64_t largest_narrow_bar = std::uint64_t{1} << 31;
constexpr std::uint16_t capability_header = 2;
constexpr std::uint16_t capability_alignment = 4;

constexpr std::uint16_t bar_register(unsigned index) {
  return static_cast<std::uint16_t>(reg::bar0 + 4 * index);
}

}  // namespace

ConfigSpace::ConfigSpace(const Identity& identity) noexcept {
  set(reg::vendor_id, identity.vendor);
  set(reg::device_id, identity.device);
  set(reg::revision_id, identity.revision);
  set<std::uint16_t>(reg::class_code, static_cast<std::uint16_t>(identity.class_code));
  set<std::uint8_t>(reg::class_code + 2, static_cast<std::uint8_t>(identity.class_code >> 16));
  set(reg::subsystem_vendor_id, identity.subsystem_vendor);
  set(reg::subsystem_id, identity.subsystem);
  allow<std::uint16_t>(reg::command, reg::command_memory | reg::command_bus_master | reg::command_interrupt_disable);
  // Without effect, but software may keep notes there (6.2.4).
  allow<std::uint8_t>(reg::cache_line_size, 0xff);
  allow<std::uint8_t>(reg::interrupt_line, 0xff);
}

Result<std::uint8_t> ConfigSpace::add_capability(std::uint8_t id, ConstBytes body) {
  const auto at = next_capability_;
  if (at + capability_header + body.size() > size) {
    return Error(Errc::limit, "add PCI capability",
                 fmt::format("id {:#x}: {} bytes at {:#x} do not fit", id, capability_header + body.size(), at));
  }
  set<std::uint8_t>(at, id);
  set<std::uint8_t>(at + 1, 0);
  std::ranges::copy(body, bytes_.begin() + at + capability_header);
  set<std::uint8_t>(last_link_, static_cast<std::uint8_t>(at));
  set<std::uint16_t>(reg::status,
                     static_cast<std::uint16_t>(value<std::uint16_t>(reg::status) | reg::status_capabilities));
  last_link_ = static_cast<std::uint16_t>(at + 1);
  const auto end = at + capability_header + body.size();
  next_capability_ =
      static_cast<std::uint16_t>((end + capability_alignment - 1) / capability_alignment * capability_alignment);
  return static_cast<std::uint8_t>(at);
}

Result<void> ConfigSpace::add_bar(unsigned index, const Bar& bar) {
  constexpr auto operation = "add PCI BAR";
  const unsigned registers = bar.wide ? 2 : 1;
  if (index + registers > bar_count || (index > 0 && bars_[index - 1].wide) || bars_[index].size != 0 ||
      (bar.wide && bars_[index + 1].size != 0)) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("BAR {}: there is no such register, or it is taken", index));
  }
  if (!std::has_single_bit(bar.size) || bar.size < least_bar || (!bar.wide && bar.size > largest_narrow_bar)) {
    return Error(Errc::invalid_argument, operation, fmt::format("BAR {}: size {:#x}", index, bar.size));
  }
  bars_[index] = bar;
  const auto mask = ~(bar.size - 1);
  set<std::uint32_t>(bar_register(index),
                     (bar.wide ? reg::bar_64_bit : 0U) | (bar.prefetchable ? reg::bar_prefetchable : 0U));
  allow<std::uint32_t>(bar_register(index), static_cast<std::uint32_t>(mask));
  if (bar.wide) allow<std::uint32_t>(bar_register(index + 1), static_cast<std::uint32_t>(mask >> 32));
  return {};
}

std::optional<GuestAddress> ConfigSpace::bar_address(unsigned index) const noexcept {
  if (index >= bar_count || bars_[index].size == 0) return std::nullopt;
  if ((value<std::uint16_t>(reg::command) & reg::command_memory) == 0) return std::nullopt;
  std::uint64_t address = value<std::uint32_t>(bar_register(index)) & ~reg::bar_flags;
  if (bars_[index].wide) address |= std::uint64_t{value<std::uint32_t>(bar_register(index + 1))} << 32;
  return GuestAddress{address};
}

void ConfigSpace::read(std::uint16_t offset, Bytes data) const noexcept {
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = offset + i < size ? bytes_[offset + i] : std::byte{0xff};
}

void ConfigSpace::write(std::uint16_t offset, ConstBytes data) noexcept {
  for (std::size_t i = 0; i < data.size() && offset + i < size; ++i) {
    auto& byte = bytes_[offset + i];
    const auto mask = writable_[offset + i];
    byte = (byte & ~mask) | (data[i] & mask);
  }
}

}  // namespace trivet::pci
