// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <bit>
#include <fmt/format.h>
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

/// One of the three parts of a split ring.
struct Part {
  std::string_view name;
  GuestRange range;
  std::uint64_t alignment;
};

std::array<Part, 3> parts_of(const QueueConfig& config) noexcept {
  return {{
      {"descriptor area", {config.descriptor_area, abi::descriptor_bytes(config.size)}, abi::descriptor_alignment},
      {"driver area", {config.driver_area, abi::avail_bytes(config.size)}, abi::avail_alignment},
      {"device area", {config.device_area, abi::used_bytes(config.size)}, abi::used_alignment},
  }};
}

Result<void> check_layout(const QueueConfig& config) {
  constexpr auto fault = Errc::malformed;
  if (config.size == 0 || !std::has_single_bit(config.size) || config.size > config.max_size ||
      config.size > abi::max_queue_size) {
    return error_of(fault, Blame::guest, "queue {}: size {} is no power of two up to {} (virtio 1.2, 2.7)",
                    config.index, config.size, config.max_size);
  }
  const auto parts = parts_of(config);
  for (const Part& part : parts) {
    if (!part.range.start.is_aligned(part.alignment)) {
      return error_of(fault, Blame::guest, "queue {}: {} at {:#x} is not {}-byte aligned (virtio 1.2, 2.7)",
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
  if (static_cast<std::uint16_t>(config.next_available - config.next_used) > config.size) {
    return error_of(fault, Blame::guest, "queue {}: available index {} and used index {} are more than {} apart",
                    config.index, config.next_available, config.next_used, config.size);
  }
  return {};
}

}  // namespace

Queue::Queue(const QueueConfig& config, std::shared_ptr<const memory::MemoryMap> map) noexcept
    : next_available_(config.next_available),
      known_available_(config.next_available),
      next_used_(config.next_used),
      published_(config.next_used),
      origin_numbers_(Chain::Origin::pack(config.index, config.size, (config.features & abi::f_indirect_desc) != 0)),
      always_notify_once_(config.next_used != 0 || config.next_available != 0),
      config_(config),
      map_(std::move(map)) {}

Result<Queue> Queue::create(const QueueConfig& config, std::shared_ptr<const memory::MemoryMap> memory) {
  if (!memory) return error_of(Errc::invalid_argument, Blame::caller, "queue {}: no memory map", config.index);
  TRIVET_TRY(check_layout(config));
  Queue queue(config, std::move(memory));
  if (const Fault gone = queue.resolve(); gone.rule != Rule::none) {
    return error_of(Errc::malformed, Blame::guest, "{}", gone.error().detail());
  }
  return queue;
}

Fault Queue::resolve() {
  const auto generation = map_->generation();  // before the snapshot: a change in between is seen at the next look
  const auto parts = parts_of(config_);
  Held held{map_->snapshot(), {}};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const GuestRange& range = parts[i].range;
    auto slice = held.memory->slice(range, i == 2 ? memory::Permission::write : memory::Permission::read);
    if (!slice) {
      const std::array numbers{static_cast<std::uint16_t>(i), static_cast<std::uint16_t>(range.size),
                               static_cast<std::uint16_t>(range.size >> 16), std::uint16_t{0}};
      return {Rule::memory_gone, false, config_.index, numbers, range.start.value};
    }
    held.ring[i] = std::move(*slice);
  }
  const memory::Region& region = *held.memory->find(config_.device_area);
  const bool moved = held_.memory != held.memory || ring_.descriptors != held.ring[0].host();
  if (held_.memory && moved && in_flight() != 0) retired_.push_back(std::move(held_));
  ring_ = {held.ring[0].host(),
           held.ring[1].host(),
           held.ring[2].host(),
           region.dirty(),
           config_.device_area.value - region.range().start.value,
           static_cast<std::uint16_t>(config_.size - 1)};
  held_ = std::move(held);
  generation_ = generation;
  return {};
}

QueueConfig Queue::config() const noexcept {
  QueueConfig config = config_;
  config.next_available = next_available_;
  config.next_used = published_;
  return config;
}

Fault Queue::bad_available_index() noexcept {
  const auto seen = std::exchange(known_available_, next_available_);  // look again at the next pop: the same error
  return {Rule::available_index_jumps, false, config_.index, {seen, next_available_, in_flight(), config_.size}, 0};
}

Fault Queue::bad_head(std::uint16_t head) const noexcept {
  return {Rule::head_beyond_table, false, config_.index, {next_available_, head, config_.size, 0}, 0};
}

Error Queue::bad_push(std::uint16_t id) const noexcept {
  if (id >= config_.size) {
    return error_of(Errc::out_of_range, Blame::caller, "queue {}: used id {} of {}", config_.index, id, config_.size);
  }
  return error_of(Errc::bad_state, Blame::caller, "queue {}: id {} was pushed, but nothing is in flight", config_.index,
                  id);
}

Result<void> Queue::go_back(std::uint16_t count) {
  if (count > in_flight()) {
    return error_of(Errc::bad_state, Blame::caller, "queue {}: cannot go back {} chains, {} are in flight",
                    config_.index, count, in_flight());
  }
  next_available_ = static_cast<std::uint16_t>(next_available_ - count);
  return {};
}

void Queue::disable_kicks() noexcept {
  // With EVENT_IDX the last avail_event stays behind, and the driver kicks only when it passes it (2.7.10).
  if (!has_event_idx()) ring_.set_used_flags(abi::used_f_no_notify);
}

bool Queue::enable_kicks() noexcept {
  if (memory_changed() && resolve().rule != Rule::none) return true;  // pop says why
  if (has_event_idx()) {
    ring_.set_available_event(next_available_);
  } else {
    ring_.set_used_flags(0);
  }
  memory::full_fence();  // the wish before the look: pairs with the driver's own
  return ring_.available_index() != next_available_;
}

}  // namespace trivet::virtio
