// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <trivet/virtio/device.hpp>
#include <trivet/virtio/net_backend.hpp>
#include <trivet/virtio/rate_limiter.hpp>

#include "net_filter.hpp"
#include "net_steering.hpp"

namespace trivet::virtio {

class NetReceiver;

/// What the queues of a network device share.
struct NetShared {
  NetBackend& backend;
  Notifier& notifier;
  RateLimiter& limit;  ///< of this queue's direction
  const NetFilter& filter;
  const NetSteering& steering;
  const std::vector<std::unique_ptr<NetReceiver>>& receivers;  ///< by pair
  std::uint64_t features;                                      ///< negotiated

  /// Of the driver's buffers, both ways.
  [[nodiscard]] std::size_t header_size() const noexcept {
    return (features & abi::net_f_hash_report) != 0 ? sizeof(abi::NetHashHeader) : sizeof(abi::NetHeader);
  }
};

/// Frames that one call of `process` moves at most, and the bytes after which it ends.
inline constexpr unsigned net_most_frames = 64;
inline constexpr std::size_t net_most_bytes = std::size_t{1} << 20;

/// Runs of memory beyond one for each descriptor: a buffer may cross from region to region.
inline constexpr std::size_t net_crossings = 64;
/// What readv and writev take.
inline constexpr std::size_t net_most_vectors = 1024;

}  // namespace trivet::virtio
