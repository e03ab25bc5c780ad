// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "mac_text.hpp"

#include <cerrno>
#include <charconv>
#include <fmt/format.h>
#include <sys/random.h>

namespace trivet::vmm {

Result<virtio::MacAddress> parse_mac(std::string_view text) {
  const auto refusal = [&] {
    return Error(Errc::invalid_argument, "check the configuration",
                 fmt::format("net mac '{}' is no address of a station, such as 52:54:00:12:34:56", text));
  };
  virtio::MacAddress mac;
  if (text.size() != 3 * mac.bytes.size() - 1) return refusal();
  for (std::size_t i = 0; i < mac.bytes.size(); ++i) {
    const auto part = text.substr(3 * i, 2);
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), mac.bytes.at(i), 16);
    if (error != std::errc() || end != part.data() + part.size()) return refusal();
    if (i + 1 < mac.bytes.size() && text[3 * i + 2] != ':') return refusal();
  }
  if (mac.is_multicast() || mac.is_zero()) return refusal();
  return mac;
}

std::string text_of(const virtio::MacAddress& mac) {
  return fmt::format("{:02x}", fmt::join(mac.bytes, ":"));
}

Result<virtio::MacAddress> random_mac() {
  virtio::MacAddress mac;
  if (::getrandom(mac.bytes.data(), mac.bytes.size(), 0) != static_cast<ssize_t>(mac.bytes.size())) {
    return Error::from_errno(errno, "choose a MAC address");
  }
  mac.bytes[0] = static_cast<std::uint8_t>((mac.bytes[0] & 0xfcU) | 2U);
  return mac;
}

}  // namespace trivet::vmm
