// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include <trivet/memory/access.hpp>
#include <trivet/memory/mapping.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/test/driver.hpp>
#include <trivet/test/fake_pages.hpp>

#include "must.hpp"

namespace trivet::test {
namespace {

namespace abi = virtio::abi;

GuestAddress operator+(GuestAddress at, std::uint64_t bytes) {
  return {at.value + bytes};
}

constexpr std::uint64_t page = 4096;

std::shared_ptr<const memory::Region> region_of(std::uint64_t size, GuestAddress start, bool track_dirty, Pages pages) {
  if (pages == Pages::host) {
    return must(
        memory::Region::create(start, must(memory::Mapping::anonymous(size)), {Access::read_write, track_dirty}));
  }
  const auto domain = std::make_shared<FakePages>(0, static_cast<std::uint32_t>(size / page));
  return must(memory::Region::create(start, size, memory::DomainPages{domain, 0, pages == Pages::on_demand}));
}

}  // namespace

std::vector<Pages> all_pages() {
  if constexpr (memory::maps_on_demand) return {Pages::host, Pages::granted, Pages::on_demand};
  return {Pages::host};
}

std::string to_string(Pages pages) {
  switch (pages) {
    case Pages::host:
      return "host";
    case Pages::granted:
      return "granted";
    case Pages::on_demand:
      break;
  }
  return "on_demand";
}

std::vector<RingPlace> places_of(std::initializer_list<RingKind> rings) {
  std::vector<RingPlace> places;
  for (const auto& ring : rings) {
    for (const auto pages : all_pages()) places.push_back({pages, ring});
  }
  return places;
}

std::string to_string(const RingPlace& place) {
  return std::string(place.ring.name) + "_" + to_string(place.pages);
}

TestGuest::TestGuest(std::uint64_t size, GuestAddress start, bool track_dirty, Pages pages)
    : next_(start.value + page), end_(start.value + size) {
  auto region = region_of(size, start, track_dirty, pages);
  map_ = std::make_shared<memory::MemoryMap>(must(memory::GuestMemory::create({std::move(region)})));
  memory_ = map_->snapshot();
}

GuestAddress TestGuest::allocate(std::uint64_t size, std::uint64_t alignment) {
  const std::uint64_t at = (next_ + alignment - 1) / alignment * alignment;
  if (at > end_ || size > end_ - at) {
    std::fprintf(stderr, "test support: the test's guest memory is out\n");
    std::abort();
  }
  next_ = at + size;
  return {at};
}

GuestAddress TestGuest::place(ConstBytes content) {
  const GuestAddress at = allocate(content.size());
  must(memory_->write(at, content));
  return at;
}

GuestAddress TestGuest::place(std::string_view content) {
  return place(std::as_bytes(std::span(content)));
}

std::string TestGuest::text(GuestAddress at, std::uint64_t size) const {
  std::string content(size, '\0');
  must(memory_->read(at, std::as_writable_bytes(std::span(content))));
  return content;
}

Driver::Driver(TestGuest& guest, std::uint16_t size, std::uint64_t features, std::optional<std::uint16_t> first_index)
    : guest_(&guest),
      size_(size),
      features_(features),
      first_index_(first_index.value_or(virtio::QueueConfig::first_index(features))),
      descriptors_(guest.allocate(abi::descriptor_bytes(size), abi::descriptor_alignment)),
      free_(size),
      chains_(size),
      tables_(size),
      available_index_(first_index_),
      kicked_at_(first_index_),
      last_used_(first_index_) {
  packed() ? set_up_packed() : set_up_split();
}

void Driver::set_up_split() {
  avail_ = guest_->allocate(abi::avail_bytes(size_), abi::avail_alignment);
  used_ = guest_->allocate(abi::used_bytes(size_), abi::used_alignment);
  std::iota(free_.rbegin(), free_.rend(), std::uint16_t{0});  // 0 is taken first
  set_available_index(first_index_);
  must(guest_->memory().store<std::uint16_t>(used_ + 2, first_index_));
  set_used_event(first_index_);
  must(guest_->memory().store<std::uint16_t>(used_ + 4 + std::uint64_t{8} * size_, first_index_));
}

virtio::QueueConfig Driver::config() const noexcept {
  virtio::QueueConfig config;
  config.size = size_;
  config.descriptor_area = descriptors_;
  config.driver_area = avail_;
  config.device_area = used_;
  config.features = features_;
  config.next_available = first_index_;
  config.next_used = first_index_;
  return config;
}

virtio::Queue Driver::queue() const {
  return must(virtio::Queue::create(config(), guest_->map()));
}

std::optional<std::uint16_t> Driver::add(Buffers buffers) {
  return add_mixed(buffers, buffers.size());
}

std::optional<std::uint16_t> Driver::add_indirect(Buffers buffers) {
  return add_mixed(buffers, 0);
}

std::optional<std::uint16_t> Driver::add_mixed(Buffers buffers, std::size_t direct) {
  const bool indirect = direct < buffers.size();
  if (packed()) return add_packed(buffers, indirect);
  const std::size_t needed = direct + (indirect ? 1 : 0);
  if (needed == 0 || needed > free_.size()) return std::nullopt;

  std::vector<std::uint16_t> taken(free_.rbegin(), free_.rbegin() + static_cast<std::ptrdiff_t>(needed));
  free_.resize(free_.size() - needed);
  const auto flags_of = [](const Buffer& buffer, bool last) {
    return static_cast<std::uint16_t>((buffer.writable ? abi::desc_f_write : 0) | (last ? 0 : abi::desc_f_next));
  };
  for (std::size_t i = 0; i < direct; ++i) {
    const bool last = i + 1 == needed;
    const std::uint16_t next = last ? std::uint16_t{0} : taken[i + 1];
    set_descriptor(taken[i], {buffers[i].address.value, buffers[i].length, flags_of(buffers[i], last), next});
  }
  if (indirect) {
    const GuestAddress table = table_of(taken.back(), buffers.size() - direct);
    for (std::size_t i = direct; i < buffers.size(); ++i) {
      const bool last = i + 1 == buffers.size();
      const auto index = static_cast<std::uint16_t>(i - direct);
      const auto next = static_cast<std::uint16_t>(last ? 0 : index + 1);
      put_descriptor(table, index, {buffers[i].address.value, buffers[i].length, flags_of(buffers[i], last), next});
    }
    const auto bytes = static_cast<std::uint32_t>((buffers.size() - direct) * 16);
    set_descriptor(taken.back(), {table.value, bytes, abi::desc_f_indirect, 0});
  }
  const std::uint16_t head = taken.front();
  chains_[head] = std::move(taken);
  if ((features_ & abi::f_in_order) != 0) in_order_.push_back(head);
  make_available(head);
  return head;
}

GuestAddress Driver::table_of(std::uint16_t descriptor, std::size_t entries) {
  Table& table = tables_[descriptor];
  if (table.entries < entries) table = {guest_->allocate(16 * entries), entries};
  return table.address;
}

bool Driver::must_kick() {
  if (packed()) return must_kick_packed();
  memory::full_fence();  // the available index before the device's wish
  const std::uint16_t since = kicked_at_;
  kicked_at_ = available_index_;
  if (since == available_index_) return false;
  if ((features_ & abi::f_event_idx) != 0) {
    return abi::need_event(available_event(), available_index_, since);
  }
  return (used_flags() & abi::used_f_no_notify) == 0;
}

std::optional<Used> Driver::take_used() {
  if (packed()) return take_used_packed();
  const auto index = must(guest_->memory().load<std::uint16_t>(used_ + 2, std::memory_order_acquire));
  if (index == last_used_) return std::nullopt;
  const Used used = used_entry(last_used_);
  ++last_used_;
  release_chain(static_cast<std::uint16_t>(used.id));
  return used;
}

void Driver::came_back(std::uint16_t id) {
  if (in_order_.empty()) return;  // without IN_ORDER, or what the test offered by hand
  if (in_order_.front() != id) {
    std::fprintf(stderr, "test support: chain %u came back out of order, before %u\n", id, in_order_.front());
    std::abort();
  }
  in_order_.pop_front();
}

void Driver::release_chain(std::uint16_t head) {
  if (head >= size_) return;
  came_back(head);
  for (auto taken = chains_[head].rbegin(); taken != chains_[head].rend(); ++taken) free_.push_back(*taken);
  chains_[head].clear();
}

bool Driver::enable_notifications(std::uint16_t more) {
  if (packed()) {
    const bool event_idx = (features_ & abi::f_event_idx) != 0;
    set_driver_event(event_idx ? abi::packed_after(last_used_, more, size_) : std::uint16_t{0},
                     event_idx ? abi::ring_event_flags_desc : abi::ring_event_flags_enable);
    memory::full_fence();  // the wish before the look
    return is_used(last_used_);
  }
  if ((features_ & abi::f_event_idx) != 0) {
    set_used_event(static_cast<std::uint16_t>(last_used_ + more));
  } else {
    set_available_flags(0);
  }
  memory::full_fence();  // the wish before the look
  return static_cast<std::uint16_t>(used_index() - last_used_) > more;
}

void Driver::disable_notifications() {
  if (packed()) return set_driver_event(0, abi::ring_event_flags_disable);
  if ((features_ & abi::f_event_idx) == 0) set_available_flags(abi::avail_f_no_interrupt);
}

void Driver::put_descriptor(GuestAddress table, std::uint16_t index, const RawDescriptor& descriptor) {
  const auto at = table + std::uint64_t{16} * index;
  if (packed()) {
    const abi::PvirtqDesc raw{abi::le64(descriptor.address), abi::le32(descriptor.length), abi::le16(descriptor.next),
                              abi::le16(descriptor.flags)};
    return must(guest_->memory().write_object(at, raw));
  }
  const abi::VirtqDesc raw{abi::le64(descriptor.address), abi::le32(descriptor.length), abi::le16(descriptor.flags),
                           abi::le16(descriptor.next)};
  must(guest_->memory().write_object(at, raw));
}

GuestAddress Driver::place_table(std::span<const RawDescriptor> descriptors) {
  const GuestAddress table = guest_->allocate(16 * descriptors.size());
  std::uint16_t index = 0;
  for (const auto& descriptor : descriptors) put_descriptor(table, index++, descriptor);
  return table;
}

void Driver::offer(std::span<const RawDescriptor> descriptors) {
  if (!packed()) {
    std::uint16_t index = 0;
    for (const auto& descriptor : descriptors) set_descriptor(index++, descriptor);
    return make_available(0);
  }
  const auto first = next_place_;
  for (const auto& descriptor : descriptors) {
    put_packed(next_place_, descriptor, next_place_ != first);
    next_place_ = abi::packed_after(next_place_, 1, size_);
  }
  added_ += static_cast<std::uint32_t>(descriptors.size());
  expose(first, descriptors[0].flags);
}

void Driver::make_available(std::uint16_t head) {
  set_available_entry(available_index_, head);
  set_available_index(static_cast<std::uint16_t>(available_index_ + 1));
}

void Driver::set_available_entry(std::uint16_t slot, std::uint16_t head) {
  must(guest_->memory().store<std::uint16_t>(avail_ + 4 + std::uint64_t{2} * (slot % size_), head));
}

void Driver::set_available_index(std::uint16_t index) {
  available_index_ = index;
  must(guest_->memory().store<std::uint16_t>(avail_ + 2, index, std::memory_order_release));
}

void Driver::set_available_flags(std::uint16_t flags) {
  must(guest_->memory().store<std::uint16_t>(avail_, flags));
}

void Driver::set_used_event(std::uint16_t index) {
  must(guest_->memory().store<std::uint16_t>(avail_ + 4 + std::uint64_t{2} * size_, index));
}

std::uint16_t Driver::used_index() const {
  if (packed()) return used_index_packed();
  return must(guest_->memory().load<std::uint16_t>(used_ + 2, std::memory_order_acquire));
}

std::uint16_t Driver::used_flags() const {
  return must(guest_->memory().load<std::uint16_t>(used_));
}

std::uint16_t Driver::available_event() const {
  return must(guest_->memory().load<std::uint16_t>(used_ + 4 + std::uint64_t{8} * size_));
}

Used Driver::used_entry(std::uint16_t slot) const {
  if (packed()) {
    const auto raw = must(guest_->memory().read_object<abi::PvirtqDesc>(descriptors_ + std::uint64_t{16} * slot));
    return {raw.id.value(), raw.len.value()};
  }
  const auto at = used_ + 4 + std::uint64_t{8} * (slot % size_);
  return {must(guest_->memory().load<std::uint32_t>(at)), must(guest_->memory().load<std::uint32_t>(at + 4))};
}

}  // namespace trivet::test
