// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The driver's side of a packed ring (virtio 1.2, 2.8).
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include <trivet/memory/access.hpp>
#include <trivet/test/driver.hpp>

#include "must.hpp"

namespace trivet::test {
namespace {

namespace abi = virtio::abi;

constexpr std::uint16_t both = abi::packed_desc_f_avail | abi::packed_desc_f_used;

bool wrap_of(std::uint16_t place) {
  return (place & abi::packed_wrap) != 0;
}
GuestAddress descriptor_at(GuestAddress ring, std::uint16_t place) {
  return {ring.value + std::uint64_t{16} * (place & 0x7fffU)};
}

}  // namespace

void Driver::set_up_packed() {
  avail_ = guest_->allocate(4, 4);
  used_ = guest_->allocate(4, 4);
  std::iota(free_.begin(), free_.end(), std::uint16_t{0});  // the last one is taken first, which is no chain's place
  free_descriptors_ = size_;
  next_place_ = first_index_;
  // As the rounds before left it: all behind the first place was used in this round, the rest in the one before.
  for (std::uint16_t i = 0; i < size_; ++i) {
    const bool wrap = wrap_of(first_index_) == (i < (first_index_ & 0x7fffU));
    const std::uint16_t flags = wrap ? both : std::uint16_t{0};
    put_descriptor(descriptors_, i, {0, 0, flags, 0});
  }
  set_driver_event(0, abi::ring_event_flags_enable);
  must(guest_->memory().store<std::uint32_t>(used_, 0));
}

/// All but the flags of a chain's first descriptor, which `expose` writes last.
void Driver::put_packed(std::uint16_t place, const RawDescriptor& descriptor, bool visible) {
  const auto at = descriptor_at(descriptors_, place);
  must(guest_->memory().store<std::uint64_t>(at, descriptor.address));
  must(guest_->memory().store<std::uint32_t>({at.value + 8}, descriptor.length));
  must(guest_->memory().store<std::uint16_t>({at.value + 12}, descriptor.next));
  if (visible) expose(place, descriptor.flags);
}

void Driver::expose(std::uint16_t place, std::uint16_t flags) {
  const auto available = wrap_of(place) ? abi::packed_desc_f_avail : abi::packed_desc_f_used;
  must(guest_->memory().store<std::uint16_t>({descriptor_at(descriptors_, place).value + 14},
                                             static_cast<std::uint16_t>((flags & ~both) | available),
                                             std::memory_order_release));
}

std::optional<std::uint16_t> Driver::add_packed(Buffers buffers, bool indirect) {
  const std::size_t needed = indirect ? 1 : buffers.size();
  if (needed == 0 || needed > free_descriptors_ || free_.empty()) return std::nullopt;
  const std::uint16_t id = free_.back();
  free_.pop_back();
  chains_[id].assign(needed, 0);
  free_descriptors_ = static_cast<std::uint16_t>(free_descriptors_ - needed);
  if ((features_ & abi::f_in_order) != 0) in_order_.push_back(id);

  std::vector<RawDescriptor> chain;
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    const bool more = !indirect && i + 1 != buffers.size();
    const auto flags = (buffers[i].writable ? abi::desc_f_write : 0) | (more ? abi::desc_f_next : 0);
    // The buffer id counts in the last one only (2.8.6).
    chain.push_back({buffers[i].address.value, buffers[i].length, static_cast<std::uint16_t>(flags),
                     more ? std::uint16_t{0xffff} : id});
  }
  if (indirect) {
    const GuestAddress table = table_of(id, chain.size());
    for (std::uint16_t i = 0; i < chain.size(); ++i) put_descriptor(table, i, chain[i]);
    chain = {{table.value, static_cast<std::uint32_t>(chain.size() * 16), abi::desc_f_indirect, id}};
  }
  offer(chain);
  return id;
}

bool Driver::must_kick_packed() {
  memory::full_fence();  // the descriptors before the device's wish
  const auto added = std::exchange(added_, 0);
  if (added == 0) return false;
  const std::uint32_t event = device_event();
  const auto flags = static_cast<std::uint16_t>(event >> 16);
  if (flags == abi::ring_event_flags_desc && (features_ & abi::f_event_idx) != 0) {
    return abi::packed_need_event(static_cast<std::uint16_t>(event), next_place_, added, size_);
  }
  return flags != abi::ring_event_flags_disable;
}

bool Driver::is_used(std::uint16_t place) const {
  const auto flags = must(
      guest_->memory().load<std::uint16_t>({descriptor_at(descriptors_, place).value + 14}, std::memory_order_acquire));
  return (flags & both) == (wrap_of(place) ? both : 0);
}

std::optional<Used> Driver::take_used_packed() {
  if (!is_used(last_used_)) return std::nullopt;
  const auto at = descriptor_at(descriptors_, last_used_);
  Used used{must(guest_->memory().load<std::uint16_t>({at.value + 12})),
            must(guest_->memory().load<std::uint32_t>({at.value + 8}))};
  const auto flags = must(guest_->memory().load<std::uint16_t>({at.value + 14}));
  if ((flags & abi::desc_f_write) == 0) used.written = 0;  // 2.8.4: the length is reserved
  const auto id = static_cast<std::uint16_t>(used.id);
  if (id >= size_ || chains_[id].empty()) {
    std::fprintf(stderr, "test support: buffer id %u came back, which the device does not have\n", id);
    std::abort();
  }
  came_back(id);
  const auto count = static_cast<std::uint16_t>(chains_[id].size());
  chains_[id].clear();
  free_.push_back(id);
  free_descriptors_ = static_cast<std::uint16_t>(free_descriptors_ + count);
  last_used_ = abi::packed_after(last_used_, count, size_);
  ++taken_;
  return used;
}

std::uint16_t Driver::used_index_packed() const {
  auto place = last_used_;
  std::uint16_t waiting = 0;
  for (std::uint32_t passed = 0; passed < size_ && is_used(place); ++waiting) {
    const auto id = used_entry(static_cast<std::uint16_t>(place & 0x7fffU)).id;
    const auto count = id < size_ && !chains_[id].empty() ? chains_[id].size() : 1;
    place = abi::packed_after(place, static_cast<std::uint32_t>(count), size_);
    passed += static_cast<std::uint32_t>(count);
  }
  return static_cast<std::uint16_t>(taken_ + waiting);
}

std::uint32_t Driver::device_event() const {
  return must(guest_->memory().load<std::uint32_t>(used_));
}

void Driver::set_driver_event(std::uint16_t place, std::uint16_t flags) {
  must(guest_->memory().store<std::uint32_t>(avail_, place | std::uint32_t{flags} << 16));
}

}  // namespace trivet::test
