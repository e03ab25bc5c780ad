// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <compare>
#include <cstdint>

namespace trivet {

/// A PCI function: segment, bus, device (0-31), function (0-7). Source: PCI Express Base Specification, 2.2.6.2 and
/// 7.2.
struct PciAddress {
  std::uint16_t segment = 0;
  std::uint8_t bus = 0;
  std::uint8_t device = 0;
  std::uint8_t function = 0;

  /// Bus, device and function as configuration addresses and requester identifiers carry them.
  [[nodiscard]] constexpr std::uint16_t bdf() const noexcept {
    return static_cast<std::uint16_t>(bus << 8 | (device & 0x1f) << 3 | (function & 0x7));
  }
  [[nodiscard]] static constexpr PciAddress from_bdf(std::uint16_t segment, std::uint16_t bdf) noexcept {
    return {segment, static_cast<std::uint8_t>(bdf >> 8), static_cast<std::uint8_t>(bdf >> 3 & 0x1f),
            static_cast<std::uint8_t>(bdf & 0x7)};
  }

  friend constexpr auto operator<=>(const PciAddress&, const PciAddress&) noexcept = default;
};

}  // namespace trivet
