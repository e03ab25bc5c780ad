// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "access.hpp"

#include <algorithm>
#include <bit>

#include "guest_bytes.hpp"
#include "modes.hpp"

namespace trivet::mshv::emulator {
namespace {

constexpr std::uint8_t type_permits = 0x2;  // code: readable; data: writable
constexpr std::uint8_t type_expands_down = 0x4;
constexpr std::uint8_t type_code = 0x8;

bool is_canonical(std::uint64_t linear, unsigned bits) {
  const unsigned unused = 64 - bits;
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(linear << unused) >> unused) == linear;
}

/// A device sees at most eight bytes at a time; 3, 5, 6 and 7, which come where an access crosses pages, in naturally
/// aligned parts.
template <class Part>
void for_each_part(std::uint64_t at, std::size_t size, Part&& part) {
  for (std::size_t offset = 0; offset < size;) {
    const std::size_t left = std::min<std::size_t>(size - offset, 8);
    std::size_t bytes = std::bit_floor(left);
    while (bytes != left && ((at + offset) & (bytes - 1)) != 0) bytes /= 2;
    part(offset, bytes);
    offset += bytes;
  }
}

}  // namespace

bool Access::within_segment(const Segment& segment, std::uint64_t offset, unsigned bytes, Intent intent) const {
  if (is_protected(state_)) {
    if (segment.unusable || !segment.present) return false;
    const bool code = (segment.type & type_code) != 0;
    const bool flag = (segment.type & type_permits) != 0;
    if (intent == Intent::read && code && !flag) return false;
    if (intent == Intent::write && (code || !flag)) return false;
  }
  const bool down = (segment.type & (type_code | type_expands_down)) == type_expands_down;
  const std::uint64_t last = offset + bytes - 1;
  if (!down) return last <= segment.limit;
  const std::uint64_t top = segment.default_big ? 0xffff'ffff : 0xffff;
  return offset > segment.limit && last <= top;
}

bool Access::linear_address(SegmentIndex index, std::uint64_t offset, unsigned bytes, Intent intent,
                            std::uint64_t& linear) {
  const Segment& segment = state_.segments[index];
  const auto vector = index == ss ? Vector::stack : Vector::general_protection;
  if (is_64bit(state_)) {
    linear = offset + (index >= fs ? segment.base : 0);
    const unsigned bits = (state_.cr4 & cr4_la57) != 0 ? 57 : 48;
    if (is_canonical(linear, bits) && is_canonical(linear + bytes - 1, bits)) return true;
    return raise(vector);
  }
  if (!within_segment(segment, offset, bytes, intent)) return raise(vector);
  linear = (segment.base + offset) & 0xffff'ffff;
  return true;
}

bool Access::page(std::uint64_t linear, Intent intent, Actor actor, std::uint64_t& physical) {
  auto& cached = cached_[intent == Intent::write ? 1 : 0];
  const std::uint64_t start = linear & ~page_mask;
  if (actor == Actor::program && intent != Intent::fetch && cached.linear == start) {
    physical = cached.physical | (linear & page_mask);
    return true;
  }
  const PageWalk walk{state_, cpu_, physical_address_bits_};
  if (!translate(walk, linear, intent, actor, Marking::yes, physical, fault_)) return false;
  if (actor == Actor::program && intent != Intent::fetch) cached = {start, physical & ~page_mask};
  return true;
}

bool Access::locate_linear(std::uint64_t linear, unsigned bytes, Intent intent, Actor actor, Location& location) {
  const auto to_end = static_cast<unsigned>(page_mask + 1 - (linear & page_mask));
  location.bytes = static_cast<std::uint8_t>(bytes);
  location.in_first = static_cast<std::uint8_t>(std::min(bytes, to_end));
  if (bytes <= to_end) return page(linear, intent, actor, location.physical[0]);
  std::uint64_t second = linear + to_end;
  if (!is_64bit(state_)) second &= 0xffff'ffff;
  // An access that ends in a fault of its second page leaves no mark on the first.
  const PageWalk walk{state_, cpu_, physical_address_bits_};
  if (!translate(walk, linear, intent, actor, Marking::no, location.physical[0], fault_)) return false;
  if (!translate(walk, second, intent, actor, Marking::no, location.physical[1], fault_)) return false;
  return page(linear, intent, actor, location.physical[0]) && page(second, intent, actor, location.physical[1]);
}

bool Access::locate(SegmentIndex segment, std::uint64_t offset, unsigned bytes, Intent intent, Location& location,
                    unsigned alignment) {
  std::uint64_t linear = 0;
  if (!linear_address(segment, offset, bytes, intent, linear)) return false;
  if ((linear & (alignment - 1)) != 0) return raise(Vector::general_protection);
  if (!locate_linear(linear, bytes, intent, Actor::program, location)) return false;
  const bool checked = (state_.cr0 & cr0_alignment_mask) != 0 && (state_.rflags & flag_alignment) != 0;
  if (checked && intent != Intent::fetch && privilege(state_) == 3 && bytes <= 8 && (linear & (bytes - 1)) != 0) {
    return raise(Vector::alignment_check);
  }
  return true;
}

bool Access::locate_table(std::uint64_t linear, unsigned bytes, Intent intent, Location& location) {
  if (!is_long_mode(state_)) linear &= 0xffff'ffff;
  return locate_linear(linear, bytes, intent, Actor::processor, location);
}

void Access::read_piece(std::uint64_t physical, std::byte* to, std::size_t bytes) {
  if (const std::byte* host = cpu_.ram({physical}, false); host != nullptr) return load_bytes(host, to, bytes);
  for_each_part(physical, bytes, [&](std::size_t offset, std::size_t part) {
    io_.mmio_read({physical + offset}, {to + offset, part});
  });
}

void Access::write_piece(std::uint64_t physical, const std::byte* from, std::size_t bytes) {
  if (std::byte* host = cpu_.ram({physical}, true); host != nullptr) {
    store_bytes(host, from, bytes);
    cpu_.wrote({physical}, bytes);
    return;
  }
  for_each_part(physical, bytes, [&](std::size_t offset, std::size_t part) {
    io_.mmio_write({physical + offset}, {from + offset, part}, Posted::no);
  });
}

void Access::read(const Location& location, void* to) {
  auto* const bytes = static_cast<std::byte*>(to);
  read_piece(location.physical[0], bytes, location.in_first);
  const std::size_t rest = location.bytes - location.in_first;
  if (rest != 0) read_piece(location.physical[1], bytes + location.in_first, rest);
}

void Access::write(const Location& location, const void* from) {
  const auto* const bytes = static_cast<const std::byte*>(from);
  write_piece(location.physical[0], bytes, location.in_first);
  const std::size_t rest = location.bytes - location.in_first;
  if (rest != 0) write_piece(location.physical[1], bytes + location.in_first, rest);
}

bool Access::exchange(const Location& location, std::uint64_t expected, std::uint64_t desired) {
  const bool one_piece = location.in_first == location.bytes && (location.physical[0] & (location.bytes - 1U)) == 0;
  std::byte* const host = one_piece ? cpu_.ram({location.physical[0]}, true) : nullptr;
  if (host == nullptr) {
    write(location, &desired);
    return true;
  }
  if (!exchange_bytes(host, expected, desired, location.bytes)) return false;
  cpu_.wrote({location.physical[0]}, location.bytes);
  return true;
}

}  // namespace trivet::mshv::emulator
