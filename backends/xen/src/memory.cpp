// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "memory.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include <trivet/core/capability.hpp>

#include "populate.hpp"

namespace trivet::xen {
namespace {

constexpr auto map_operation = "map guest memory";
constexpr auto unmap_operation = "unmap guest memory";
constexpr auto take_operation = "take the dirty log";
constexpr auto mark_operation = "mark guest memory as written";
// What the domain needs beyond its RAM: special pages of Xen's own.
constexpr std::uint64_t spare_memory = 1U << 20;
// What Xen wants for a domain's page tables, as libxl counts; splitting a large page takes from it, too.
constexpr std::uint64_t pool_per_vcpu = 1U << 20;
constexpr unsigned pool_shift = 7;                // 8 KiB for each MiB
constexpr std::uint64_t pages_a_call = 1U << 20;  // what a 32-bit count takes, by far

std::string text_of(const GuestRange& range) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "0x%" PRIx64 " + 0x%" PRIx64, range.start.value, range.size);
  return text.data();
}

std::uint64_t frame_of(GuestAddress at) {
  return at.value >> page_shift;
}

/// Makes a device model call over a range, in pieces.
template <class Call>
Result<void> for_pieces(const GuestRange& range, const char* operation, Call call) {
  const auto end = frame_of(range.last()) + 1;
  for (auto first = frame_of(range.start); first < end; first += pages_a_call) {
    const auto count = static_cast<std::uint32_t>(std::min(end - first, pages_a_call));
    if (call(first, count) != 0) return Error::from_errno(errno, operation, text_of(range));
  }
  return {};
}

}  // namespace

Result<void> Memory::check(const RegionSpec& spec) const {
  const auto& range = spec.range;
  const auto refuse = [&](const char* why) {
    return Error(Errc::invalid_argument, map_operation, text_of(range) + ": " + why);
  };
  if (!range.valid()) return refuse("the range is empty or wraps");
  if (range.start.value % page_size != 0 || range.size % page_size != 0) return refuse("the range is not page aligned");
  if ((range.last().value >> address_bits_) != 0) {
    return Error(Errc::out_of_range, map_operation,
                 text_of(range) + ": guest physical addresses have " + std::to_string(address_bits_) + " bits here");
  }
  if (std::holds_alternative<HostMemory>(spec.source)) {
    return Error::unsupported(map_operation, to_string(Cap::host_memory));
  }
  if (std::holds_alternative<FileMemory>(spec.source)) {
    return Error::unsupported(map_operation, to_string(Cap::file_memory));
  }
  if (context_.attached() && spec.access == Access::read_only) {
    return Error::unsupported(map_operation, "read_only_memory in a domain that a toolstack made");
  }
  if (context_.attached() && spec.log_dirty) {
    return Error::unsupported(map_operation, "dirty_log in a domain that a toolstack made");
  }
  return {};
}

Result<void> Memory::check_free(const GuestRange& range) const {
  const auto taken = [&](const GuestRange& other) {
    return Error(Errc::already_exists, map_operation, text_of(range) + " overlaps " + text_of(other));
  };
  const auto after = regions_.upper_bound(range.start);
  if (after != regions_.end() && after->second.range.overlaps(range)) return taken(after->second.range);
  if (after != regions_.begin() && std::prev(after)->second.range.overlaps(range)) {
    return taken(std::prev(after)->second.range);
  }
  return {};
}

Result<void> Memory::set_limit(std::uint64_t bytes) const {
  return context_.domctl->set_max_memory(context_.domain, bytes + spare_memory);
}

Result<void> Memory::make_room(const GuestRange& range) {
  TRIVET_ASSIGN(const auto free, context_.domctl->free_memory());
  const auto total = populated_ + range.size;
  if (total < populated_ || range.size > free) {
    return Error(Errc::no_memory, map_operation,
                 text_of(range) + ": Xen has " + std::to_string(free >> 20) +
                     " MiB free; give the guest less, or dom0 (dom0_mem on Xen's command line)",
                 Blame::host);
  }
  if (total > pool_for_) {
    const auto pool = pool_per_vcpu * (context_.vcpus + 1) + (total >> pool_shift);
    TRIVET_TRY(context_.domctl->set_paging_pool(context_.domain, (pool + page_size - 1) / page_size * page_size));
    pool_for_ = total;
  }
  return set_limit(total);
}

Result<void> Memory::populate(const GuestRange& range) {
  TRIVET_TRY(make_room(range));
  const auto extents = extents_of(range);
  std::uint64_t pages = 0;
  std::optional<Error> failed;
  const auto add = [&](const std::vector<std::uint64_t>& frames, unsigned order) {
    if (failed || frames.empty()) return;
    const auto made = context_.domctl->populate(context_.domain, frames, order);
    pages += std::uint64_t{made.extents} << order;
    failed = made.error;
  };
  add(extents.before, 0);
  const bool first_part = !failed;
  add(extents.large, large_order);
  if (first_part && failed && failed->code() == Errc::no_memory) {
    // Memory may be free in smaller pieces.
    failed.reset();
    std::vector<std::uint64_t> frames;
    const auto end = extents.before.size() + (extents.large.size() << large_order);
    for (auto page = pages; page < end; ++page) frames.push_back(frame_of(range.start) + page);
    add(frames, 0);
  }
  add(extents.after, 0);
  if (!failed) {
    populated_ += range.size;
    return {};
  }
  if (pages > 0) (void)depopulate({range.start, pages << page_shift});
  (void)set_limit(populated_);
  return *failed;
}

Result<void> Memory::depopulate(const GuestRange& range) const {
  const auto extents = extents_of(range);
  TRIVET_TRY(context_.domctl->depopulate(context_.domain, extents.before, 0));
  TRIVET_TRY(context_.domctl->depopulate(context_.domain, extents.large, large_order));
  return context_.domctl->depopulate(context_.domain, extents.after, 0);
}

Result<void> Memory::trap_writes(const GuestRange& range) {
  if (!traps_writes_) {
    // The one page type whose writes go to a server, instead of nowhere.
    if (xendevicemodel_map_mem_type_to_ioreq_server(context_.device_model(), context_.domain, server_->id(),
                                                    HVMMEM_ioreq_server, XEN_DMOP_IOREQ_MEM_ACCESS_WRITE) != 0) {
      return Error::from_errno(errno, map_operation, text_of(range) + ": take the guest's writes to it");
    }
    traps_writes_ = true;
  }
  return for_pieces(range, map_operation, [&](std::uint64_t first, std::uint32_t count) {
    return xendevicemodel_set_mem_type(context_.device_model(), context_.domain, HVMMEM_ioreq_server, first, count);
  });
}

bool Memory::logging() const noexcept {
  return std::any_of(regions_.begin(), regions_.end(), [](const auto& entry) { return entry.second.log_dirty; });
}

Result<void> Memory::harvest() {
  std::uint64_t end = 0;
  for (const auto& [start, region] : regions_) {
    if (region.log_dirty) end = frame_of(region.range.last()) + 1;
  }
  TRIVET_ASSIGN(const auto bits, context_.domctl->take_dirty_log(context_.domain, end));
  for (auto& [start, region] : regions_) {
    if (!region.log_dirty) continue;
    const auto first = frame_of(start);
    const auto pages = region.range.size >> page_shift;
    for (std::uint64_t page = 0; page < pages; ++page) {
      const auto frame = first + page;
      if ((bits[frame / 64] >> (frame % 64) & 1) != 0) region.dirty[page / 64] |= std::uint64_t{1} << (page % 64);
    }
  }
  return {};
}

Result<Memory::Region> Memory::make(const RegionSpec& spec) {
  Region region;
  region.range = spec.range;
  region.access = spec.access;
  region.log_dirty = spec.log_dirty;
  const bool owned = !context_.attached();
  if (owned) TRIVET_TRY(populate(spec.range));
  auto mapping = Mapping::create(context_, frame_of(spec.range.start), spec.range.size >> page_shift);
  Result<void> ready;
  if (!mapping) ready = mapping.error();
  if (ready && spec.access == Access::read_only) ready = trap_writes(spec.range);
  if (ready && spec.log_dirty && !logging()) ready = context_.domctl->start_dirty_log(context_.domain);
  if (ready) {
    region.mapping = std::move(*mapping);
    if (spec.log_dirty) region.dirty.resize(((region.range.size >> page_shift) + 63) / 64);
    return region;
  }
  if (mapping) mapping->reset();
  if (owned && depopulate(spec.range)) populated_ -= spec.range.size;
  return ready.error();
}

Result<MappedRegion> Memory::map(const RegionSpec& spec) {
  TRIVET_TRY(check(spec));
  const std::scoped_lock lock(mutex_);
  TRIVET_TRY(check_free(spec.range));
  TRIVET_ASSIGN(auto made, make(spec));
  const auto [entry, added] = regions_.emplace(spec.range.start, std::move(made));
  auto& region = entry->second;
  if (region.log_dirty) {
    // Making the pages and mapping them counts as writing them: that is no guest's doing.
    if (const auto fresh = harvest(); !fresh) {
      (void)remove(entry);
      return fresh.error();
    }
    std::fill(region.dirty.begin(), region.dirty.end(), 0);
  }
  MappedRegion mapped;
  mapped.range = region.range;
  mapped.host = region.mapping.data();
  mapped.access = region.access;
  mapped.can_pin = false;  // a foreign page has no struct page that get_user_pages takes
  return mapped;
}

Memory::Regions::iterator Memory::find(const GuestRange& range) {
  const auto found = regions_.find(range.start);
  return found != regions_.end() && found->second.range == range ? found : regions_.end();
}

Result<void> Memory::unmap(const GuestRange& range) {
  const std::scoped_lock lock(mutex_);
  const auto found = find(range);
  if (found == regions_.end()) {
    return Error(Errc::not_found, unmap_operation, text_of(range) + ": no region has exactly this range");
  }
  return remove(found);
}

Result<void> Memory::remove(Regions::iterator region) {
  const auto range = region->second.range;
  if (!context_.attached()) {
    // The others' bits: stopping the log below would lose them, and removing pages takes them out of it.
    if (region->second.log_dirty) TRIVET_TRY(harvest());
    // Xen clears what a dying domain leaves, not what a living one gives back: another guest may get these next.
    std::memset(region->second.mapping.data(), 0, range.size);
    TRIVET_TRY(depopulate(range));
    populated_ -= range.size;
  }
  const bool logged = logging();
  regions_.erase(region);
  if (context_.attached()) return {};
  TRIVET_TRY(set_limit(populated_));
  return logged && !logging() ? context_.domctl->stop_dirty_log(context_.domain) : Result<void>{};
}

Result<DirtyBitmap> Memory::take(const GuestRange& range) {
  const std::scoped_lock lock(mutex_);
  const auto found = find(range);
  if (found == regions_.end()) {
    return Error(Errc::not_found, take_operation, text_of(range) + ": no region has exactly this range");
  }
  auto& region = found->second;
  if (!region.log_dirty) {
    return Error(Errc::bad_state, take_operation, text_of(range) + " was not mapped with log_dirty");
  }
  TRIVET_TRY(harvest());
  return std::exchange(region.dirty, DirtyBitmap(region.dirty.size()));
}

Result<void> Memory::mark(const GuestRange& range) noexcept {
  // In a domain of ours nobody else looks; in another a toolstack may at any time.
  if (!context_.attached() || !range.valid()) return {};
  return for_pieces(range, mark_operation, [&](std::uint64_t first, std::uint32_t count) {
    return xendevicemodel_modified_memory(context_.device_model(), context_.domain, first, count);
  });
}

bool Memory::copy_in_page(GuestAddress at, Bytes data, bool to_guest) noexcept {
  const auto move = [&](std::byte* host) {
    if (to_guest) {
      std::memcpy(host, data.data(), data.size());
    } else {
      std::memcpy(data.data(), host, data.size());
    }
    return true;
  };
  {
    const std::scoped_lock lock(mutex_);
    const auto after = regions_.upper_bound(at);
    if (after != regions_.begin()) {
      const auto& region = std::prev(after)->second;
      if (region.range.contains(at)) return move(region.mapping.data() + (at.value - region.range.start.value));
    }
  }
  if (!context_.attached()) return false;
  // The guest's memory is all there, if not mapped: a window for this one access.
  const auto window = Mapping::create(context_, frame_of(at), 1);
  return window && move(window->data() + at.value % page_size);
}

bool Memory::copy(GuestAddress at, Bytes data, bool to_guest) noexcept {
  while (!data.empty()) {
    const auto part = std::min<std::size_t>(data.size(), page_size - at.value % page_size);
    if (!copy_in_page(at, data.first(part), to_guest)) return false;
    data = data.subspan(part);
    at.value += part;
  }
  return true;
}

bool Memory::write(GuestAddress at, ConstBytes from) noexcept {
  std::array<std::byte, 8> bytes;
  if (from.size() > bytes.size()) return false;
  std::copy(from.begin(), from.end(), bytes.begin());
  return copy(at, {bytes.data(), from.size()}, true);
}

}  // namespace trivet::xen
