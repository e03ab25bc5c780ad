// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "memory.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>

#include <trivet/core/capability.hpp>

#include "guest_memfd.hpp"
#include "ioctl.hpp"
#include "layout_x86_64.hpp"

namespace trivet::kvm {
namespace {

constexpr auto map_operation = "map guest memory";
constexpr auto unmap_operation = "unmap guest memory";
constexpr auto take_operation = "take the dirty log";

std::string text_of(const GuestRange& range) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "0x%" PRIx64 " + 0x%" PRIx64, range.start.value, range.size);
  return text.data();
}

bool page_aligned(std::uint64_t value) {
  return value % page_size == 0;
}

}  // namespace

Result<void> Memory::check(const RegionSpec& spec) const {
  const auto& range = spec.range;
  const auto refuse = [&](const char* why) {
    return Error(Errc::invalid_argument, map_operation, text_of(range) + ": " + why);
  };
  if (!range.valid()) return refuse("the range is empty or wraps");
  if (!page_aligned(range.start.value) || !page_aligned(range.size)) return refuse("the range is not page aligned");
  if (address_bits_ < 64 && (range.last().value >> address_bits_) != 0) {
    return Error(Errc::out_of_range, map_operation,
                 text_of(range) + ": guest physical addresses have " + std::to_string(address_bits_) + " bits here");
  }
  if (const auto* host = std::get_if<HostMemory>(&spec.source)) {
    if (host->address == nullptr) return refuse("the host memory is null");
    // SAFETY: only the number of the address is looked at.
    if (!page_aligned(reinterpret_cast<std::uintptr_t>(host->address)))
      return refuse("the host memory is not page aligned");
  } else if (const auto* file = std::get_if<FileMemory>(&spec.source)) {
    if (!page_aligned(file->offset)) return refuse("the offset into the file is not page aligned");
  } else {
    TRIVET_TRY(check_hypervisor_memory(spec));
  }
  if (spec.access == Access::read_only && context_.device.extension(KVM_CAP_READONLY_MEM) == 0) {
    return Error::unsupported(map_operation, to_string(Cap::read_only_memory));
  }
  return {};
}

// Such memory has neither yet (Linux 6.18).
Result<void> Memory::check_hypervisor_memory(const RegionSpec& spec) const {
  if (!maps_guest_memfd(context_.device)) return Error::unsupported(map_operation, to_string(Cap::hypervisor_memory));
  if (spec.log_dirty) {
    return Error::unsupported(map_operation, "dirty_log of hypervisor_memory: map host or file memory");
  }
  if (spec.access == Access::read_only) {
    return Error::unsupported(map_operation, "read_only_memory of hypervisor_memory: map host or file memory");
  }
  return {};
}

Result<void> Memory::check_free(const GuestRange& range) const {
  const auto taken = [&](const GuestRange& other, const char* by) {
    return Error(Errc::already_exists, map_operation, text_of(range) + " overlaps " + text_of(other) + by);
  };
  if (range.overlaps(layout::reserved)) return taken(layout::reserved, ", which KVM keeps for itself");
  auto after = regions_.upper_bound(range.start);
  if (after != regions_.end() && after->second.range.overlaps(range)) return taken(after->second.range, "");
  if (after != regions_.begin() && std::prev(after)->second.range.overlaps(range)) {
    return taken(std::prev(after)->second.range, "");
  }
  return {};
}

Result<void> Memory::back(Region& region, const RegionSpec& spec) const {
  if (const auto* host = std::get_if<HostMemory>(&spec.source)) {
    region.host = host->address;
    return {};
  }
  if (const auto* file = std::get_if<FileMemory>(&spec.source)) {
    TRIVET_TRY(back_by_file(region, *file));
  } else {
    region.guest_memfd = true;
    TRIVET_ASSIGN(region.shared_fd, create_guest_memfd(context_, region.range.size));
  }
  TRIVET_ASSIGN(region.mapping,
                Mapping::create(region.shared_fd.value(), region.shared_offset, region.range.size, "guest memory"));
  region.host = region.mapping.data();
  return {};
}

Result<void> Memory::back_by_file(Region& region, const FileMemory& file) const {
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) return Error::from_errno(errno, map_operation, "the descriptor of the memory");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (S_ISREG(status.st_mode) && (file.offset > size || region.range.size > size - file.offset)) {
    // Mapped all the same it would kill this process with SIGBUS at the first touch.
    return Error(Errc::out_of_range, map_operation,
                 text_of(region.range) + ": the file has only " + std::to_string(size) + " bytes");
  }
  region.shared_fd.reset(::fcntl(file.fd, F_DUPFD_CLOEXEC, 0));
  if (!region.shared_fd.valid()) return Error::from_errno(errno, map_operation, "duplicate the descriptor");
  region.shared_offset = file.offset;
  return {};
}

Result<std::uint32_t> Memory::free_slot() const {
  const auto found = std::find(slots_.begin(), slots_.end(), false);
  const auto slot = static_cast<std::uint32_t>(found - slots_.begin());
  const auto limit = static_cast<std::uint32_t>(std::max(context_.device.extension(KVM_CAP_NR_MEMSLOTS), 32));
  if (slot >= limit) {
    return Error(Errc::limit, map_operation, "KVM has " + std::to_string(limit) + " slots and all are in use",
                 Blame::host);
  }
  return slot;
}

Result<void> Memory::set_slot(const Region& region, std::uint64_t size) const {
  const auto fill = [&](auto& slot) {
    slot.slot = region.slot;
    slot.flags =
        (region.access == Access::read_only ? KVM_MEM_READONLY : 0) | (region.log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0);
    slot.guest_phys_addr = region.range.start.value;
    slot.memory_size = size;
    // SAFETY: the kernel takes the address as a number.
    slot.userspace_addr = reinterpret_cast<std::uintptr_t>(region.host);
  };
  if (region.guest_memfd) {
    UserMemoryRegion2 slot{};
    fill(slot);
    slot.flags |= KVM_MEM_GUEST_MEMFD;
    slot.guest_memfd = static_cast<std::uint32_t>(region.shared_fd.value());
    return perform(context_.vm(), TRIVET_KVM_REQUEST(KVM_SET_USER_MEMORY_REGION2, UserMemoryRegion2), &slot,
                   text_of(region.range));
  }
  kvm_userspace_memory_region slot{};
  fill(slot);
  return perform(context_.vm(), TRIVET_KVM_REQUEST(KVM_SET_USER_MEMORY_REGION, kvm_userspace_memory_region), &slot,
                 text_of(region.range));
}

Result<MappedRegion> Memory::map(const RegionSpec& spec) {
  TRIVET_TRY(check(spec));
  const std::scoped_lock lock(mutex_);
  TRIVET_TRY(check_free(spec.range));
  Region region;
  region.range = spec.range;
  region.access = spec.access;
  region.log_dirty = spec.log_dirty;
  TRIVET_ASSIGN(region.slot, free_slot());
  TRIVET_TRY(back(region, spec));
  if (rings_ != nullptr && region.log_dirty) rings_->add_slot(region.slot, region.range.size / page_size);
  if (const auto set = set_slot(region, region.range.size); !set) {
    if (rings_ != nullptr) rings_->remove_slot(region.slot);
    return set.error();
  }
  if (region.slot == slots_.size()) slots_.push_back(false);
  slots_[region.slot] = true;
  MappedRegion mapped;
  mapped.range = region.range;
  mapped.host = region.host;
  mapped.access = region.access;
  mapped.shared_fd = region.shared_fd.value();
  mapped.shared_offset = region.shared_offset;
  regions_.emplace(spec.range.start, std::move(region));
  return mapped;
}

const Memory::Region* Memory::find(const GuestRange& range) const {
  const auto found = regions_.find(range.start);
  return found != regions_.end() && found->second.range == range ? &found->second : nullptr;
}

Result<void> Memory::unmap(const GuestRange& range) {
  const std::scoped_lock lock(mutex_);
  const auto* region = find(range);
  if (region == nullptr) {
    return Error(Errc::not_found, unmap_operation, text_of(range) + ": no region has exactly this range");
  }
  TRIVET_TRY(set_slot(*region, 0));
  if (rings_ != nullptr) rings_->remove_slot(region->slot);
  slots_[region->slot] = false;
  regions_.erase(range.start);
  return {};
}

Result<DirtyBitmap> Memory::take(const GuestRange& range) {
  const std::scoped_lock lock(mutex_);
  const auto* region = find(range);
  if (region == nullptr) {
    return Error(Errc::not_found, take_operation, text_of(range) + ": no region has exactly this range");
  }
  if (!region->log_dirty) {
    return Error(Errc::bad_state, take_operation, text_of(range) + " was not mapped with log_dirty");
  }
  if (rings_ != nullptr) return rings_->take(region->slot);
  DirtyBitmap bitmap((region->range.size / page_size + 63) / 64);
  kvm_dirty_log log{};
  log.slot = region->slot;
  log.dirty_bitmap = bitmap.data();
  TRIVET_TRY(perform(context_.vm(), TRIVET_KVM_REQUEST(KVM_GET_DIRTY_LOG, kvm_dirty_log), &log, text_of(range)));
  return bitmap;
}

bool Memory::read(GuestAddress at, void* to, std::size_t bytes) const {
  const std::scoped_lock lock(mutex_);
  auto after = regions_.upper_bound(at);
  if (after == regions_.begin()) return false;
  const auto& region = std::prev(after)->second;
  if (!region.range.contains(at, bytes) || !region.range.contains(at)) return false;
  std::memcpy(to, region.host + (at.value - region.range.start.value), bytes);
  return true;
}

}  // namespace trivet::kvm
