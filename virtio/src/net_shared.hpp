// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/virtio/device.hpp>
#include <trivet/virtio/net_backend.hpp>
#include <trivet/virtio/rate_limiter.hpp>

#include "net_filter.hpp"

namespace trivet::virtio {

/// What the queues of a network device share.
struct NetShared {
  NetBackend& backend;
  Notifier& notifier;
  RateLimiter& limit;  ///< of this queue's direction
  const NetFilter& filter;
  std::uint64_t features;  ///< negotiated
};

/// Frames that one call of `process` moves at most, and the bytes after which it ends.
inline constexpr unsigned net_most_frames = 64;
inline constexpr std::size_t net_most_bytes = std::size_t{1} << 20;

/// Runs of memory beyond one for each descriptor: a buffer may cross from region to region.
inline constexpr std::size_t net_crossings = 64;
/// What readv and writev take.
inline constexpr std::size_t net_most_vectors = 1024;

}  // namespace trivet::virtio
