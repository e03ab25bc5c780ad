// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>

#include <trivet/vmm/bus.hpp>

namespace trivet::vmm {

Bus::Bus(const char* name, unsigned address_bits) noexcept
    : name_(name), last_(address_bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << address_bits) - 1) {}

Result<void> Bus::insert(std::uint64_t first, std::uint64_t size, BusDevice& device, std::string_view device_name) {
  constexpr auto operation = "put a device on the bus";
  if (sealed_) return Error(Errc::bad_state, operation, fmt::format("{}: the {} bus is in use", device_name, name_));
  if (size == 0 || first > last_ || size - 1 > last_ - first) {
    return Error(Errc::out_of_range, operation,
                 fmt::format("{}: {:#x} bytes at {:#x} leave the {} space", device_name, size, first, name_));
  }
  const auto last = first + (size - 1);
  const auto next = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& it) { return it.last >= first; });
  if (next != entries_.end() && next->first <= last) {
    return Error(Errc::already_exists, operation,
                 fmt::format("{} at {} {:#x}-{:#x} overlaps {} at {:#x}-{:#x}", device_name, name_, first, last,
                             next->name, next->first, next->last));
  }
  if (claim_) {
    if (const auto claimed = claim_(first, size); !claimed) return claimed.error().within(device_name);
  }
  entries_.insert(next, Entry{first, last, &device, std::string(device_name)});
  return {};
}

const Bus::Entry* Bus::find(std::uint64_t at, std::uint64_t size) const noexcept {
  const auto next = std::upper_bound(entries_.begin(), entries_.end(), at,
                                     [](std::uint64_t address, const Entry& it) { return address < it.first; });
  if (next == entries_.begin()) return nullptr;
  const auto& entry = *(next - 1);
  if (at > entry.last || size == 0 || size - 1 > entry.last - at) return nullptr;
  return &entry;
}

}  // namespace trivet::vmm
