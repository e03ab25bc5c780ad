// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "net_filter.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace trivet::virtio {
namespace {

constexpr std::size_t least_frame = 14;
constexpr std::uint16_t vlan_type = 0x8100;

/// Two bytes as they lie on the wire.
std::uint16_t big_endian(ConstBytes bytes, std::size_t at) noexcept {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[at]) << 8 |
                                    std::to_integer<unsigned>(bytes[at + 1]));
}

}  // namespace

NetFilter::NetFilter() {
  for (auto* list : {&unicast_, &multicast_, &next_unicast_, &next_multicast_}) list->addresses.reserve(most_addresses);
}

void NetFilter::reset(const MacAddress& mac, bool filters_vlans) noexcept {
  modes = {};
  mac_ = mac;
  for (auto* list : {&unicast_, &multicast_}) {
    list->addresses.clear();
    list->all = false;
  }
  vlans_.reset();
  filters_vlans_ = filters_vlans;
}

void NetFilter::replace() noexcept {
  std::swap(unicast_, next_unicast_);
  std::swap(multicast_, next_multicast_);
  std::ranges::sort(unicast_.addresses);
  std::ranges::sort(multicast_.addresses);
}

bool NetFilter::passes_lists(ConstBytes head) const noexcept {
  if (head.size() < least_frame) return false;
  if (filters_vlans_ && head.size() >= looks_at && big_endian(head, 12) == vlan_type &&
      !vlans_.test(big_endian(head, 14) & 0xfffU)) {
    return false;
  }
  MacAddress to;
  std::memcpy(to.bytes.data(), head.data(), to.bytes.size());
  if (to == mac_broadcast) return !modes.no_broadcast;
  if (to.is_multicast()) {
    if (modes.no_multicast) return false;
    return modes.all_multicast || multicast_.all || std::ranges::binary_search(multicast_.addresses, to);
  }
  if (modes.no_unicast) return false;
  return modes.all_unicast || to == mac_ || unicast_.all || std::ranges::binary_search(unicast_.addresses, to);
}

}  // namespace trivet::virtio
