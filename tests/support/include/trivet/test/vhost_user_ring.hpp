// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/test/vhost_user_abi.hpp>
#include <trivet/test/vhost_user_fd_slot.hpp>
#include <trivet/test/vhost_user_memory.hpp>
#include <trivet/virtio/queue.hpp>

namespace trivet::test::vhost_user {

/// What a front end said of one queue (vhost-user, "Ring states").
struct Ring {
  std::uint32_t size = 0;
  std::optional<abi::VringAddress> address;
  std::uint32_t base = 0;  ///< as in messages, see `base_of`
  bool enabled = false;
  bool running = false;        ///< the device has it,
  virtio::QueueConfig config;  ///< of this
  UniqueFd kick;               ///< valid while the ring is started
  FdSlot call;
  FdSlot error;
};

/// Where a queue stands, as SET_VRING_BASE and GET_VRING_BASE carry it. Split ring: the index of the next available
/// entry. Packed ring: the next place to look at in the lower half, the next one to give back in the upper, each with
/// its wrap counter in the highest bit.
[[nodiscard]] std::uint32_t base_of(const virtio::QueueConfig& config) noexcept;

/// What the device's side of the ring is made of: the front end's addresses as the guest's, and the place where it
/// stands. Errors that blame the guest: an address in no memory, a base that is none (`malformed`).
Result<virtio::QueueConfig> queue_config(const Ring& ring, unsigned index, std::uint16_t max_size,
                                         std::uint64_t features, const Memory& memory);

}  // namespace trivet::test::vhost_user
