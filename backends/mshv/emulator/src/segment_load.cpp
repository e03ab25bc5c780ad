// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// MOV to a data segment register. Source: Intel SDM volume 3, 3.4.5 and 5.6-5.7; volume 2, MOV.
#include "execute.hpp"
#include "guest_bytes.hpp"

namespace trivet::mshv::emulator {
namespace {

constexpr std::uint8_t type_accessed = 1;
constexpr std::uint8_t type_permits = 2;  // data: writable; code: readable
constexpr std::uint8_t type_conforming = 4;
constexpr std::uint8_t type_code = 8;

Segment unpack(std::uint64_t descriptor, std::uint16_t selector) {
  Segment found;
  found.selector = selector;
  found.base = (descriptor >> 16 & 0xff'ffff) | (descriptor >> 56 & 0xff) << 24;
  found.type = static_cast<std::uint8_t>(descriptor >> 40 & 0xf);
  found.code_or_data = (descriptor >> 44 & 1) != 0;
  found.privilege = static_cast<std::uint8_t>(descriptor >> 45 & 3);
  found.present = (descriptor >> 47 & 1) != 0;
  found.available = (descriptor >> 52 & 1) != 0;
  found.long_mode = (descriptor >> 53 & 1) != 0;
  found.default_big = (descriptor >> 54 & 1) != 0;
  found.granularity = (descriptor >> 55 & 1) != 0;
  const auto limit = static_cast<std::uint32_t>((descriptor & 0xffff) | (descriptor >> 32 & 0xf'0000));
  found.limit = found.granularity ? limit << 12 | 0xfff : limit;
  return found;
}

bool fits_stack(const Segment& segment, unsigned privilege, unsigned requested) {
  const bool writable_data = (segment.type & (type_code | type_permits)) == type_permits;
  return segment.code_or_data && writable_data && requested == privilege && segment.privilege == privilege;
}

bool fits_data(const Segment& segment, unsigned privilege, unsigned requested) {
  const bool code = (segment.type & type_code) != 0;
  if (!segment.code_or_data || (code && (segment.type & type_permits) == 0)) return false;
  if (code && (segment.type & type_conforming) != 0) return true;
  return requested <= segment.privilege && privilege <= segment.privilege;
}

}  // namespace

bool Execution::descriptor_at(std::uint16_t selector, Location& location, std::uint64_t& descriptor) {
  const bool local = (selector & 4) != 0;
  const std::uint32_t error = selector & 0xfffcU;
  const std::uint64_t limit = local ? state_.ldt.limit : state_.gdt.limit;
  if (local && (state_.ldt.unusable || !state_.ldt.present)) return access_.raise(Vector::general_protection, error);
  if ((selector | 7U) > limit) return access_.raise(Vector::general_protection, error);
  const std::uint64_t base = local ? state_.ldt.base : state_.gdt.base;
  if (!access_.locate_table(base + (selector & 0xfff8U), 8, Intent::read, location)) return false;
  access_.read(location, &descriptor);
  return true;
}

Status Execution::load_segment(SegmentIndex index, std::uint16_t selector) {
  Segment& segment = state_.segments[index];
  interrupt_shadow_ = index == ss;
  if (!is_protected(state_)) {
    segment.selector = selector;
    segment.base = std::uint64_t{selector} << 4;
    return Status::done;
  }
  const unsigned current = privilege(state_);
  const unsigned requested = selector & 3U;
  const std::uint32_t error = selector & 0xfffcU;
  if ((selector & 0xfffc) == 0) {
    if (index == ss && !(is_64bit(state_) && current < 3 && requested == current)) {
      access_.raise(Vector::general_protection);
      return Status::fault;
    }
    segment = {};
    segment.selector = selector;
    segment.unusable = true;
    if (index == ss) segment.privilege = static_cast<std::uint8_t>(current);
    return Status::done;
  }
  Location location;
  std::uint64_t descriptor = 0;
  if (!descriptor_at(selector, location, descriptor)) return Status::fault;
  Segment found = unpack(descriptor, selector);
  const bool fits = index == ss ? fits_stack(found, current, requested) : fits_data(found, current, requested);
  if (!fits) {
    access_.raise(Vector::general_protection, error);
    return Status::fault;
  }
  if (!found.present) {
    access_.raise(index == ss ? Vector::stack : Vector::segment_not_present, error);
    return Status::fault;
  }
  if ((found.type & type_accessed) == 0) {
    constexpr std::uint64_t accessed = std::uint64_t{1} << 40;
    const bool local = (selector & 4) != 0;
    const std::uint64_t base = local ? state_.ldt.base : state_.gdt.base;
    if (!access_.locate_table(base + (selector & 0xfff8U), 8, Intent::write, location)) return Status::fault;
    (void)access_.exchange(location, descriptor, descriptor | accessed);
    found.type |= type_accessed;
  }
  segment = found;
  return Status::done;
}

}  // namespace trivet::mshv::emulator
