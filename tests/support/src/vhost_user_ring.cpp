// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <fmt/format.h>

#include <trivet/test/vhost_user_ring.hpp>
#include <trivet/virtio/abi/split_ring.hpp>

namespace trivet::test::vhost_user {
namespace {

constexpr const char* operation = "vhost-user ring";

/// The other way round from `base_of`. The used index is not in the message: it is in the ring.
Result<void> set_base(virtio::QueueConfig& config, std::uint32_t base, const memory::GuestMemory& memory) {
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
  return config.next_available;
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
  TRIVET_TRY(place(ring.address->available, rings::avail_bytes(ring.size), config.driver_area));
  TRIVET_TRY(place(ring.address->used, rings::used_bytes(ring.size), config.device_area));
  TRIVET_TRY(set_base(config, ring.base, *memory.map()->snapshot()));
  return config;
}

}  // namespace trivet::test::vhost_user
