// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>
#include <sys/stat.h>
#include <utility>

#include <trivet/memory/guest_memory.hpp>
#include <trivet/memory/mapping.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/test/vhost_user_memory.hpp>

namespace trivet::test::vhost_user {
namespace {

constexpr const char* operation = "map the front end's memory";

/// As the front end sees it: no guest addresses, but as long a number.
GuestRange user_range(const abi::MemoryRegion& region) {
  return {{region.user_address}, region.size};
}
GuestRange guest_range(const abi::MemoryRegion& region) {
  return {{region.guest_address}, region.size};
}

Error refuse(const abi::MemoryRegion& region, std::string_view why) {
  return Error::malformed(operation,
                          fmt::format("{:#x} bytes at {:#x} (the front end's {:#x}, offset {:#x}): {}", region.size,
                                      region.guest_address, region.user_address, region.mmap_offset, why));
}

bool is_file(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

}  // namespace

Result<Memory::Slot> Memory::map_slot(const abi::MemoryRegion& region, const UniqueFd& file) const {
  if (!user_range(region).valid() || !guest_range(region).valid()) return refuse(region, "empty, or it wraps");
  // Who maps something that is no memory may wait for ever when it is touched.
  if (!is_file(file.value())) return refuse(region, "the descriptor is no file");
  auto mapping = memory::Mapping::file(file.value(), region.mmap_offset, region.size);
  if (!mapping) {
    const auto& error = mapping.error();
    return error.blame() == Blame::host ? error : refuse(region, error.detail());
  }
  auto made = memory::Region::create({region.guest_address}, std::move(*mapping), {Access::read_write, track_dirty_});
  if (!made) return refuse(region, made.error().detail());
  return Slot{region, std::move(*made)};
}

Result<void> Memory::adopt(Slots slots) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (user_range(slots[i].place).overlaps(user_range(slots[j].place)) ||
          guest_range(slots[i].place).overlaps(guest_range(slots[j].place))) {
        return refuse(slots[i].place, fmt::format("overlaps what is at {:#x} (the front end's {:#x})",
                                                  slots[j].place.guest_address, slots[j].place.user_address));
      }
    }
  }
  memory::GuestMemory::Regions regions;
  for (const auto& slot : slots) regions.push_back(slot.region);
  TRIVET_ASSIGN(auto next, memory::GuestMemory::create(std::move(regions)));
  map_->replace(std::move(next));
  slots_ = std::move(slots);
  return {};
}

Result<void> Memory::set(std::span<const abi::MemoryRegion> regions, std::span<const UniqueFd> files) {
  Slots slots;
  for (std::size_t i = 0; i < regions.size(); ++i) {
    TRIVET_ASSIGN(auto slot, map_slot(regions[i], files[i]));
    slots.push_back(std::move(slot));
  }
  return adopt(std::move(slots));
}

Result<void> Memory::add(const abi::MemoryRegion& region, const UniqueFd& file) {
  if (slots_.size() >= most_slots) {
    return Error(Errc::limit, operation, fmt::format("all {} slots are taken", most_slots), Blame::host);
  }
  TRIVET_ASSIGN(auto slot, map_slot(region, file));
  auto slots = slots_;
  slots.push_back(std::move(slot));
  return adopt(std::move(slots));
}

Result<void> Memory::remove(const abi::MemoryRegion& region) {
  auto slots = slots_;
  const auto gone = std::ranges::find_if(slots, [&](const Slot& slot) {
    return guest_range(slot.place) == guest_range(region) && slot.place.user_address == region.user_address;
  });
  if (gone == slots.end()) return refuse(region, "there is no such region");
  slots.erase(gone);
  return adopt(std::move(slots));
}

void Memory::clear() noexcept {
  slots_.clear();
  map_->replace(nullptr);
}

std::optional<GuestAddress> Memory::translate(std::uint64_t user, std::uint64_t bytes) const noexcept {
  for (const auto& slot : slots_) {
    if (!user_range(slot.place).contains({user}, bytes)) continue;
    return GuestAddress{slot.place.guest_address + (user - slot.place.user_address)};
  }
  return std::nullopt;
}

}  // namespace trivet::test::vhost_user
