// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <compare>
#include <cstdint>

namespace trivet::virtio {

/// An Ethernet address, in the order of its bytes on the wire. Thread rule: a value.
struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};

  /// Of a group, all included, not of one station.
  [[nodiscard]] constexpr bool is_multicast() const noexcept { return (bytes[0] & 1) != 0; }
  [[nodiscard]] constexpr bool is_zero() const noexcept { return bytes == std::array<std::uint8_t, 6>{}; }

  friend auto operator<=>(const MacAddress&, const MacAddress&) = default;
};

inline constexpr MacAddress mac_broadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

}  // namespace trivet::virtio
