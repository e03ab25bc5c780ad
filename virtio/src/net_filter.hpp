// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <trivet/core/bytes.hpp>
#include <trivet/virtio/mac_address.hpp>

namespace trivet::virtio {

/// Which frames the driver wants (virtio 1.3, 5.1.6.5.1 to 5.1.6.5.3). On the device's executor only.
class NetFilter {
 public:
  /// The most addresses that each list holds; of a longer one all of its kind pass.
  static constexpr std::size_t most_addresses = 64;
  /// The bytes of a frame that it looks at: two addresses, type, VLAN tag.
  static constexpr std::size_t looks_at = 18;

  /// Addresses that pass, sorted.
  struct List {
    std::vector<MacAddress> addresses;
    bool all = false;
  };
  /// Receive modes.
  struct Modes {
    bool promiscuous = true;  ///< a driver that sets no mode gets all
    bool all_multicast = false;
    bool all_unicast = false;
    bool no_multicast = false;
    bool no_unicast = false;
    bool no_broadcast = false;
  };

  NetFilter();

  /// As after a reset of the device.
  void reset(const MacAddress& mac, bool filters_vlans) noexcept;

  Modes modes;
  void set_mac(const MacAddress& mac) noexcept { mac_ = mac; }
  /// Room for a list of `most_addresses`; fill it and call `replace`.
  [[nodiscard]] List& next_unicast() noexcept { return next_unicast_; }
  [[nodiscard]] List& next_multicast() noexcept { return next_multicast_; }
  /// The next lists become those in use.
  void replace() noexcept;
  /// `id` below 4096.
  void set_vlan(std::uint16_t id, bool passes) noexcept { vlans_.set(id, passes); }

  /// `head`: the first `looks_at` bytes of the frame, or all of them.
  [[nodiscard]] bool passes(ConstBytes head) const noexcept { return modes.promiscuous || passes_lists(head); }

 private:
  [[nodiscard]] bool passes_lists(ConstBytes head) const noexcept;

  MacAddress mac_;
  List unicast_, multicast_;
  List next_unicast_, next_multicast_;
  std::bitset<4096> vlans_;
  bool filters_vlans_ = false;
};

}  // namespace trivet::virtio
