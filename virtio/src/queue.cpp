// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <bit>
#include <fmt/format.h>
#include <new>
#include <string_view>

#include <trivet/virtio/queue.hpp>

namespace trivet::virtio {
namespace {

constexpr const char* operation = "virtio queue";

template <class... Arguments>
Error error_of(Errc code, Blame blame, fmt::format_string<Arguments...> format, Arguments&&... arguments) noexcept {
  std::array<char, 224> text{};
  const auto end = fmt::format_to_n(text.data(), text.size(), format, std::forward<Arguments>(arguments)...);
  return {code, operation, {text.data(), std::min(end.size, text.size())}, blame};
}

/// One of the three parts of a ring.
struct Part {
  std::string_view name;
  GuestRange range;
  std::uint64_t alignment;
  bool written;  // by the device
};

bool wants_packed(const QueueConfig& config) noexcept {
  return (config.features & abi::f_ring_packed) != 0;
}

std::array<Part, 3> parts_of(const QueueConfig& config) noexcept {
  const bool packed = wants_packed(config);
  const GuestRange descriptors{config.descriptor_area, abi::descriptor_bytes(config.size)};
  if (packed) {
    constexpr auto bytes = sizeof(abi::PvirtqEventSuppress);
    return {{
        {"descriptor area", descriptors, abi::descriptor_alignment, true},
        {"driver area", {config.driver_area, bytes}, abi::event_suppress_alignment, false},
        {"device area", {config.device_area, bytes}, abi::event_suppress_alignment, true},
    }};
  }
  return {{
      {"descriptor area", descriptors, abi::descriptor_alignment, false},
      {"driver area", {config.driver_area, abi::avail_bytes(config.size)}, abi::avail_alignment, false},
      {"device area", {config.device_area, abi::used_bytes(config.size)}, abi::used_alignment, true},
  }};
}

Result<void> check_size(const QueueConfig& config) {
  const bool wrong = config.size == 0 || config.size > config.max_size || config.size > abi::max_queue_size;
  if (wants_packed(config) && wrong) {
    return error_of(Errc::malformed, Blame::guest, "queue {}: size {} is not 1 to {} (virtio 1.2, 2.8)", config.index,
                    config.size, config.max_size);
  }
  if (!wants_packed(config) && (wrong || !std::has_single_bit(config.size))) {
    return error_of(Errc::malformed, Blame::guest, "queue {}: size {} is no power of two up to {} (virtio 1.2, 2.7)",
                    config.index, config.size, config.max_size);
  }
  return {};
}

Result<void> check_indices(const QueueConfig& config) {
  const auto available = config.next_available;
  const auto used = config.next_used;
  const bool packed = wants_packed(config);
  if (packed && ((available & ~abi::packed_wrap) >= config.size || (used & ~abi::packed_wrap) >= config.size)) {
    return error_of(Errc::malformed, Blame::guest, "queue {}: available place {:#x} or used place {:#x} is beyond {}",
                    config.index, available, used, config.size);
  }
  if ((packed || (config.features & abi::f_in_order) != 0) && available != used) {
    return error_of(
        Errc::malformed, Blame::guest,
        "queue {}: available index {:#x} and used index {:#x} differ: what is in flight in a packed ring or "
        "in order cannot be taken over",
        config.index, available, used);
  }
  if (static_cast<std::uint16_t>(available - used) > config.size) {
    return error_of(Errc::malformed, Blame::guest,
                    "queue {}: available index {} and used index {} are more than {} apart", config.index, available,
                    used, config.size);
  }
  return {};
}

Result<void> check_layout(const QueueConfig& config) {
  constexpr auto fault = Errc::malformed;
  const auto parts = parts_of(config);
  for (const Part& part : parts) {
    if (!part.range.start.is_aligned(part.alignment)) {
      return error_of(fault, Blame::guest, "queue {}: {} at {:#x} is not {}-byte aligned (virtio 1.2, 2.7, 2.8.10.1)",
                      config.index, part.name, part.range.start.value, part.alignment);
    }
    if (!part.range.valid()) {
      return error_of(fault, Blame::guest, "queue {}: {} at {:#x} wraps", config.index, part.name,
                      part.range.start.value);
    }
  }
  for (std::size_t first = 0; first < parts.size(); ++first) {
    for (std::size_t second = first + 1; second < parts.size(); ++second) {
      if (parts[first].range.overlaps(parts[second].range)) {
        return error_of(fault, Blame::guest, "queue {}: {} at {:#x} overlaps {} at {:#x}", config.index,
                        parts[first].name, parts[first].range.start.value, parts[second].name,
                        parts[second].range.start.value);
      }
    }
  }
  return {};
}

}  // namespace

Queue::Queue(const QueueConfig& config, std::shared_ptr<const memory::MemoryMap> map) noexcept
    : next_available_(config.next_available),
      known_available_(config.next_available),
      next_used_(config.next_used),
      published_(config.next_used),
      always_notify_once_(config.next_used != QueueConfig::first_index(config.features) ||
                          config.next_available != QueueConfig::first_index(config.features)),
      config_(config),
      map_(std::move(map)) {}

Result<Queue> Queue::create(const QueueConfig& config, std::shared_ptr<const memory::MemoryMap> memory) {
  if (!memory) return error_of(Errc::invalid_argument, Blame::caller, "queue {}: no memory map", config.index);
  TRIVET_TRY(check_size(config));
  TRIVET_TRY(check_layout(config));
  TRIVET_TRY(check_indices(config));
  Queue queue(config, std::move(memory));
  if ((config.features & (abi::f_ring_packed | abi::f_in_order)) != 0) TRIVET_TRY(queue.track());
  if (const Fault gone = queue.resolve(); gone.rule != Rule::none) {
    return error_of(Errc::malformed, Blame::guest, "{}", gone.error().detail());
  }
  return queue;
}

Result<void> Queue::track() {
  try {
    tracking_ = std::make_unique<detail::QueueTracking>(config_.size, config_.features, config_.next_available,
                                                        config_.next_used);
  } catch (const std::bad_alloc&) {
    return error_of(Errc::no_memory, Blame::host, "queue {}: no memory for {} chains in flight", config_.index,
                    config_.size);
  }
  if (tracking_->packed) next_available_ = known_available_ = next_used_ = 0;
  published_ = next_used_;
  return {};
}

Fault Queue::resolve() {
  const auto generation = map_->generation();  // before the snapshot: a change in between is seen at the next look
  const auto parts = parts_of(config_);
  Held held;
  held.memory = map_->snapshot();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const GuestRange& range = parts[i].range;
    auto slice = held.memory->slice(range, parts[i].written ? memory::Permission::write : memory::Permission::read);
    if (!slice) {
      const std::array numbers{static_cast<std::uint16_t>(i), static_cast<std::uint16_t>(range.size),
                               static_cast<std::uint16_t>(range.size >> 16),
                               static_cast<std::uint16_t>(parts[i].written)};
      return {Rule::memory_gone, false, config_.index, numbers, range.start.value};
    }
    held.ring[i] = std::move(*slice);
  }
  const memory::Region& region = *held.memory->find(config_.device_area);
  const auto device_offset = config_.device_area.value - region.range().start.value;
  const bool moved = held_.memory != held.memory || held_.ring[0].host() != held.ring[0].host();
  if (moved) {
    const auto* const table = is_packed() ? tracking_->table.data() : held.ring[0].host();
    const bool indirect_allowed = (config_.features & abi::f_indirect_desc) != 0;
    held.origin = std::make_unique<Chain::Origin>(
        Chain::Origin{held.memory.get(), table, config_.size, config_.index, indirect_allowed, is_packed()});
    if (in_flight() != 0 && held_.memory) retired_.push_back(std::move(held_));
  } else {
    held.origin = std::move(held_.origin);
  }
  ring_ = {held.ring[1].host() + 4, held.ring[2].host(), region.dirty(), device_offset, config_.size - 1U};
  if (is_packed()) {
    const memory::Region& ring_region = *held.memory->find(config_.descriptor_area);
    tracking_->ring = {held.ring[0].host(),
                       held.ring[1].host(),
                       held.ring[2].host(),
                       {ring_region.dirty(), config_.descriptor_area.value - ring_region.range().start.value},
                       {region.dirty(), device_offset},
                       config_.size};
  }
  held_ = std::move(held);
  (tracking_ ? tracking_->generation : generation_) = generation;
  if (tracking_) generation_ = no_generation;
  return {};
}

QueueConfig Queue::config() const noexcept {
  QueueConfig config = config_;
  config.next_available = is_packed() ? tracking_->available : next_available_;
  config.next_used = tracking_ ? tracking_->published : published_;
  return config;
}

Fault Queue::follow_memory() {
  const auto known = tracking_ ? tracking_->generation : generation_;
  return map_->generation() != known ? resolve() : Fault{};
}

std::uint64_t Queue::pop_rarely() {
  if (const Fault gone = follow_memory(); gone.rule != Rule::none) return fail_pop(gone);
  if (!tracking_) return pop_split();
  return tracking_->packed ? pop_packed() : pop_in_order();
}

bool Queue::stage_rarely(std::uint16_t id, std::uint32_t written) {
  if (follow_memory().rule != Rule::none) return false;
  if (tracking_) return stage_tracked(id, written);
  if (id >= config_.size || in_flight() == 0) return false;
  ring_.set_used(next_used_++, id, written);
  return true;
}

std::uint64_t Queue::fail_pop(const Fault& fault) noexcept {
  fault_ = fault;
  return no_chain_but_fault;
}

std::uint64_t Queue::bad_available_index() noexcept {
  const auto seen = std::exchange(known_available_, next_available_);  // look again at the next pop: the same error
  return fail_pop(
      {Rule::available_index_jumps, false, config_.index, {seen, next_available_, in_flight(), config_.size}, 0});
}

std::uint64_t Queue::bad_head(std::uint16_t head) noexcept {
  return fail_pop({Rule::head_beyond_table, false, config_.index, {next_available_, head, config_.size, 0}, 0});
}

Error Queue::bad_push(std::uint16_t id) {
  if (const Fault gone = follow_memory(); gone.rule != Rule::none) return gone.error();
  if (id >= config_.size) {
    return error_of(Errc::out_of_range, Blame::caller, "queue {}: used id {} of {}", config_.index, id, config_.size);
  }
  if (in_flight() != 0) {
    return error_of(Errc::bad_state, Blame::caller, "queue {}: id {} was pushed, which is not in flight", config_.index,
                    id);
  }
  return error_of(Errc::bad_state, Blame::caller, "queue {}: id {} was pushed, but nothing is in flight", config_.index,
                  id);
}

Error Queue::bad_go_back(std::uint16_t count) const noexcept {
  return error_of(Errc::bad_state, Blame::caller, "queue {}: cannot go back {} chains, {} are in flight", config_.index,
                  count, in_flight());
}

Result<void> Queue::go_back(std::uint16_t count) {
  if (count > in_flight()) return bad_go_back(count);
  if (tracking_) return go_back_tracked(count);
  next_available_ = static_cast<std::uint16_t>(next_available_ - count);
  return {};
}

void Queue::disable_kicks() noexcept {
  if (is_packed()) return disable_packed_kicks();
  // With EVENT_IDX the last avail_event stays behind, and the driver kicks only when it passes it (2.7.10).
  if (!has_event_idx()) ring_.set_used_flags(abi::used_f_no_notify);
}

bool Queue::enable_kicks() noexcept {
  if (follow_memory().rule != Rule::none) return true;  // pop says why
  if (is_packed()) return enable_packed_kicks();
  if (has_event_idx()) {
    ring_.set_available_event(next_available_);
  } else {
    ring_.set_used_flags(0);
  }
  memory::full_fence();  // the wish before the look: pairs with the driver's own
  return ring_.available_index() != next_available_;
}

}  // namespace trivet::virtio
