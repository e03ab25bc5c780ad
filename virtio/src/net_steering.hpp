// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "net_hash.hpp"

namespace trivet::virtio {

/// Which pair receives which frame, as the driver configured it (virtio 1.3, 5.1.6.5.7). On the device's executor only.
struct NetSteering {
  static constexpr std::size_t most_entries = 128;

  NetHash hash;
  bool steers = false;  ///< else each network queue's frames go to its own pair
  std::uint16_t mask = 0;
  std::uint16_t unclassified = 0;                   ///< a pair
  std::array<std::uint16_t, most_entries> table{};  ///< pairs

  [[nodiscard]] unsigned pair_of(const NetHash::Value& value) const noexcept {
    return value.report == abi::net_hash_report_none ? unclassified : table[value.hash & mask];
  }
};

}  // namespace trivet::virtio
