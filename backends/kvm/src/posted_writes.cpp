// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "posted_writes.hpp"

#include <algorithm>

#include <trivet/core/capability.hpp>

#include "io_exits.hpp"
#include "ioctl.hpp"

namespace trivet::kvm {
namespace {

constexpr std::uint64_t port_space = 0x10000;
constexpr auto ring_entries =
    static_cast<std::uint32_t>((page_size - sizeof(kvm_coalesced_mmio_ring)) / sizeof(kvm_coalesced_mmio));

kvm_coalesced_mmio_zone zone_of(DoorbellSpec::Space space, const GuestRange& range) {
  kvm_coalesced_mmio_zone zone{};
  zone.addr = range.start.value;
  zone.size = static_cast<std::uint32_t>(range.size);
  zone.pio = space == DoorbellSpec::Space::port ? 1 : 0;
  return zone;
}

}  // namespace

Result<void> CoalescedWrites::add(Space space, const GuestRange& range) {
  constexpr auto operation = "add posted writes";
  if (!range.valid()) return Error(Errc::invalid_argument, operation, "the range is empty or wraps");
  if (range.size > UINT32_MAX) return Error(Errc::invalid_argument, operation, "a range is below 4 GiB");
  if (space == Space::port && (range.start.value >= port_space || range.size > port_space - range.start.value)) {
    return Error(Errc::out_of_range, operation, "ports end at 0xffff");
  }
  if (space == Space::port && context_.device.extension(KVM_CAP_COALESCED_PIO) == 0) {
    return Error::unsupported(operation, "posted_writes on ports");
  }
  const std::scoped_lock lock(mutex_);
  for (const auto& [other_space, other] : zones_) {
    if (other_space == space && other.overlaps(range)) {
      return Error(Errc::already_exists, operation, "the range overlaps one that is posted already");
    }
  }
  auto zone = zone_of(space, range);
  TRIVET_TRY(perform(context_.vm(), TRIVET_KVM_REQUEST(KVM_REGISTER_COALESCED_MMIO, kvm_coalesced_mmio_zone), &zone));
  zones_.emplace_back(space, range);
  return {};
}

Result<void> CoalescedWrites::remove(Space space, const GuestRange& range) {
  const std::scoped_lock lock(mutex_);
  const auto found = std::find(zones_.begin(), zones_.end(), std::pair(space, range));
  if (found == zones_.end()) return Error(Errc::not_found, "remove posted writes", "no such range was added");
  auto zone = zone_of(space, range);
  TRIVET_TRY(perform(context_.vm(), TRIVET_KVM_REQUEST(KVM_UNREGISTER_COALESCED_MMIO, kvm_coalesced_mmio_zone), &zone));
  zones_.erase(found);
  return {};
}

void CoalescedWrites::drain_entries(kvm_coalesced_mmio_ring* ring, IoHandler& io) noexcept {
  while (draining_.test_and_set(std::memory_order_acquire)) draining_.wait(true, std::memory_order_relaxed);
  std::atomic_ref first(ring->first);
  std::atomic_ref last(ring->last);
  for (auto index = first.load(std::memory_order_relaxed); index != last.load(std::memory_order_acquire);) {
    const auto& entry = ring->coalesced_mmio[index % ring_entries];
    // SAFETY: bytes of the entry, seen as bytes.
    const auto* data = reinterpret_cast<const std::byte*>(entry.data);
    for_each_piece(entry.phys_addr, std::min<std::size_t>(entry.len, sizeof entry.data),
                   [&](std::size_t offset, std::size_t bytes) {
                     if (entry.pio != 0) {
                       io.pio_write(static_cast<std::uint16_t>(entry.phys_addr + offset), {data + offset, bytes});
                     } else {
                       io.mmio_write({entry.phys_addr + offset}, {data + offset, bytes}, Posted::yes);
                     }
                   });
    // Only now: until then another runner must find the ring not empty and wait, for the write may be its own.
    index = (index + 1) % ring_entries;
    first.store(index, std::memory_order_release);
  }
  draining_.clear(std::memory_order_release);
  draining_.notify_one();
}

}  // namespace trivet::kvm
