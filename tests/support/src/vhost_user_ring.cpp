// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <fmt/format.h>

#include <trivet/test/vhost_user_ring.hpp>
#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/abi/packed_ring.hpp>
#include <trivet/virtio/abi/split_ring.hpp>

namespace trivet::test::vhost_user {
namespace {

constexpr const char* operation = "vhost-user ring";

bool packed(const virtio::QueueConfig& config) noexcept {
  return (config.features & virtio::abi::f_ring_packed) != 0;
}

/// The other way round from `base_of`. A split ring's used index is not in the message: it is in the ring.
Result<void> set_base(virtio::QueueConfig& config, std::uint32_t base, const memory::GuestMemory& memory) {
  if (packed(config)) {
    config.next_available = static_cast<std::uint16_t>(base);
    config.next_used = static_cast<std::uint16_t>(base >> 16);
    return {};
  }
  if (base > 0xffff) return Error::malformed(operation, fmt::format("queue {}: base {:#x}", config.index, base));
  config.next_available = static_cast<std::uint16_t>(base);
  const auto used =
      memory.load<std::uint16_t>({config.device_area.value + offsetof(virtio::abi::VirtqUsedHeader, idx)});
  if (!used) return used.error();
  config.next_used = *used;
  return {};
}

}  // namespace

std::uint32_t base_of(const virtio::QueueConfig& config) noexcept {
  return config.next_available | (packed(config) ? std::uint32_t{config.next_used} << 16 : 0);
}

Result<virtio::QueueConfig> queue_config(const Ring& ring, unsigned index, std::uint16_t max_size,
                                         std::uint64_t features, const Memory& memory) {
  virtio::QueueConfig config;
  config.index = static_cast<std::uint16_t>(index);
  config.size = static_cast<std::uint16_t>(ring.size);
  config.max_size = max_size;
  config.features = features;
  const auto place = [&](std::uint64_t user, std::uint64_t bytes, GuestAddress& guest) -> Result<void> {
    const auto at = memory.translate(user, bytes);
    if (!at) {
      return Error::malformed(
          operation, fmt::format("queue {}: {} bytes at the front end's {:#x} are in no region", index, bytes, user));
    }
    guest = *at;
    return {};
  };
  namespace rings = virtio::abi;
  TRIVET_TRY(place(ring.address->descriptor, rings::descriptor_bytes(ring.size), config.descriptor_area));
  constexpr std::uint64_t events = sizeof(rings::PvirtqEventSuppress);
  TRIVET_TRY(
      place(ring.address->available, packed(config) ? events : rings::avail_bytes(ring.size), config.driver_area));
  TRIVET_TRY(place(ring.address->used, packed(config) ? events : rings::used_bytes(ring.size), config.device_area));
  TRIVET_TRY(set_base(config, ring.base, *memory.map()->snapshot()));
  return config;
}

}  // namespace trivet::test::vhost_user
