// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

namespace trivet::virtio::abi {

/// The mask of feature bit `n`.
[[nodiscard]] constexpr std::uint64_t feature_bit(unsigned n) {
  return std::uint64_t{1} << n;
}

// Reserved feature bits, of rings and transports. Source: virtio 1.2, 6.
inline constexpr std::uint64_t f_indirect_desc = feature_bit(28);
inline constexpr std::uint64_t f_event_idx = feature_bit(29);
inline constexpr std::uint64_t f_version_1 = feature_bit(32);
inline constexpr std::uint64_t f_access_platform = feature_bit(33);
inline constexpr std::uint64_t f_ring_packed = feature_bit(34);
inline constexpr std::uint64_t f_in_order = feature_bit(35);
inline constexpr std::uint64_t f_order_platform = feature_bit(36);
inline constexpr std::uint64_t f_sr_iov = feature_bit(37);
inline constexpr std::uint64_t f_notification_data = feature_bit(38);
inline constexpr std::uint64_t f_notif_config_data = feature_bit(39);
inline constexpr std::uint64_t f_ring_reset = feature_bit(40);

/// Bits that belong to device types: 0 to 23 and 50 to 127 (of which the first 64 fit here). Source: virtio 1.2, 2.2.
inline constexpr std::uint64_t device_features = (feature_bit(24) - 1) | ~(feature_bit(50) - 1);

// Device status bits. Source: virtio 1.2, 2.1.
inline constexpr std::uint32_t status_acknowledge = 1;
inline constexpr std::uint32_t status_driver = 2;
inline constexpr std::uint32_t status_driver_ok = 4;
inline constexpr std::uint32_t status_features_ok = 8;
inline constexpr std::uint32_t status_needs_reset = 64;
inline constexpr std::uint32_t status_failed = 128;

}  // namespace trivet::virtio::abi
