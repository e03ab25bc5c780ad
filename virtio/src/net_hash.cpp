// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "net_hash.hpp"

#include <algorithm>
#include <cstring>

namespace trivet::virtio {
namespace {

constexpr std::uint8_t tcp = 6;
constexpr std::uint8_t udp = 17;

std::uint8_t byte_at(ConstBytes bytes, std::size_t at) noexcept {
  return std::to_integer<std::uint8_t>(bytes[at]);
}

unsigned big16(ConstBytes bytes, std::size_t at) noexcept {
  return unsigned{byte_at(bytes, at)} << 8 | byte_at(bytes, at + 1);
}

}  // namespace

void NetHash::set(std::uint32_t types, ConstBytes key) noexcept {
  types_ = types;
  key_.fill(0);
  if (!key.empty()) std::memcpy(key_.data(), key.data(), std::min(key.size(), key_.size()));
}

std::uint32_t NetHash::toeplitz(ConstBytes input) const noexcept {
  // The key's 32 bits at the input's bit, and behind them those that move in.
  std::uint64_t window = 0;
  for (std::size_t i = 0; i < 8; ++i) window = window << 8 | key_.at(i);
  std::uint32_t hash = 0;
  std::size_t next = 8;
  for (const auto byte : input) {
    for (unsigned bit = 0x80; bit != 0; bit >>= 1) {
      if ((std::to_integer<unsigned>(byte) & bit) != 0) hash ^= static_cast<std::uint32_t>(window >> 32);
      window <<= 1;
    }
    window |= next < key_.size() ? key_.at(next) : 0U;
    ++next;
  }
  return hash;
}

NetHash::Value NetHash::of(ConstBytes head) const noexcept {
  std::size_t at = 12;  // behind two MAC addresses
  if (types_ == 0 || head.size() < at + 2) return {};
  auto type = big16(head, at);
  if (type == 0x8100 && head.size() >= at + 6) type = big16(head, at += 4);  // a VLAN's tag
  const auto packet = head.subspan(at + 2);
  if (type == 0x0800) return of_ipv4(packet);
  if (type == 0x86dd) return of_ipv6(packet);
  return {};
}

NetHash::Value NetHash::of_ipv4(ConstBytes packet) const noexcept {
  if (packet.size() < 20 || byte_at(packet, 0) >> 4 != 4) return {};
  const std::size_t header = std::size_t{byte_at(packet, 0) & 15U} * 4;
  const bool fragment = (big16(packet, 6) & 0x3fffU) != 0;  // a later one has no ports
  const bool has_ports = !fragment && header >= 20 && packet.size() >= header + 4;
  std::array<std::byte, 12> input{};
  std::memcpy(input.data(), packet.data() + 12, 8);
  const auto with_ports = [&](std::uint16_t report) {
    std::memcpy(input.data() + 8, packet.data() + header, 4);
    return Value{toeplitz(input), report};
  };
  const auto protocol = byte_at(packet, 9);
  if (has_ports && protocol == tcp && (types_ & abi::net_hash_tcpv4) != 0)
    return with_ports(abi::net_hash_report_tcpv4);
  if (has_ports && protocol == udp && (types_ & abi::net_hash_udpv4) != 0)
    return with_ports(abi::net_hash_report_udpv4);
  if ((types_ & abi::net_hash_ipv4) == 0) return {};
  return {toeplitz(std::span(input).first(8)), abi::net_hash_report_ipv4};
}

NetHash::Value NetHash::of_ipv6(ConstBytes packet) const noexcept {
  constexpr std::size_t header = 40;  // behind extension headers no ports are looked for
  if (packet.size() < header || byte_at(packet, 0) >> 4 != 6) return {};
  const bool has_ports = packet.size() >= header + 4;
  std::array<std::byte, 36> input{};
  std::memcpy(input.data(), packet.data() + 8, 32);
  const auto with_ports = [&](std::uint16_t report) {
    std::memcpy(input.data() + 32, packet.data() + header, 4);
    return Value{toeplitz(input), report};
  };
  const auto protocol = byte_at(packet, 6);
  if (has_ports && protocol == tcp && (types_ & abi::net_hash_tcpv6) != 0)
    return with_ports(abi::net_hash_report_tcpv6);
  if (has_ports && protocol == udp && (types_ & abi::net_hash_udpv6) != 0)
    return with_ports(abi::net_hash_report_udpv6);
  if ((types_ & abi::net_hash_ipv6) == 0) return {};
  return {toeplitz(std::span(input).first(32)), abi::net_hash_report_ipv6};
}

}  // namespace trivet::virtio
