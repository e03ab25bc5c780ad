// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <trivet/core/bytes.hpp>
#include <trivet/virtio/abi/net.hpp>

namespace trivet::virtio {

/// The Toeplitz hash of received frames (virtio 1.3, 5.1.6.4.3; Microsoft's RSS). Thread rule: a value.
class NetHash {
 public:
  static constexpr std::size_t key_size = 40;
  /// The bytes of a frame that it looks at: addresses and type, a VLAN tag, the longest IPv4 header, ports.
  static constexpr std::size_t looks_at = 14 + 4 + 60 + 4;

  /// What is told of one frame.
  struct Value {
    std::uint32_t hash = 0;
    std::uint16_t report = abi::net_hash_report_none;  ///< over what it was taken
  };

  /// `types` are of `abi::net_hash_types`; a shorter key goes on in zeros. At most `key_size` bytes count.
  void set(std::uint32_t types, ConstBytes key) noexcept;
  /// `head`: the frame's first `looks_at` bytes, or all of them. One that has none of the wanted headers has no hash.
  [[nodiscard]] Value of(ConstBytes head) const noexcept;

  /// Over any bytes, at most 36.
  [[nodiscard]] std::uint32_t toeplitz(ConstBytes input) const noexcept;

 private:
  [[nodiscard]] Value of_ipv4(ConstBytes packet) const noexcept;
  [[nodiscard]] Value of_ipv6(ConstBytes packet) const noexcept;

  std::uint32_t types_ = 0;
  std::array<std::uint8_t, key_size> key_{};
};

}  // namespace trivet::virtio
