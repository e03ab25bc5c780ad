// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "memory.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <thread>

#include <trivet/core/capability.hpp>

#include "hypercall.hpp"

namespace trivet::mshv {
namespace {

constexpr auto map_operation = "map guest memory";
constexpr auto unmap_operation = "unmap guest memory";
constexpr auto take_operation = "take the dirty log";
constexpr std::uint64_t page_size = abi::page_size;
constexpr std::uint64_t most_pages = 1U << 20;  // that one call looks at; the kernel needs a byte for each

std::string text_of(const GuestRange& range) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "0x%" PRIx64 " + 0x%" PRIx64, range.start.value, range.size);
  return text.data();
}

bool page_aligned(std::uint64_t value) {
  return value % page_size == 0;
}

std::uint64_t number_of(const void* pointer) {
  // SAFETY: only the number of the address is used; the kernel takes it as one.
  return reinterpret_cast<std::uintptr_t>(pointer);
}

}  // namespace

// --- views

Memory::View::View(Memory& memory) : memory_(memory) {
  const std::scoped_lock lock(memory.mutex_);
  memory.views_.push_back(this);
}
Memory::View::~View() {
  const std::scoped_lock lock(memory_.mutex_);
  std::erase(memory_.views_, this);
}

const Memory::Window* Memory::View::window(GuestAddress at) noexcept {
  // Shown first, and then seen to be still the one: whoever replaces it waits for us.
  const Map* map = memory_.current_.load(std::memory_order_seq_cst);
  while (true) {
    shown_.store(map, std::memory_order_seq_cst);
    const Map* const now = memory_.current_.load(std::memory_order_seq_cst);
    if (now == map) break;
    map = now;
  }
  const auto after =
      std::upper_bound(map->begin(), map->end(), at, [](GuestAddress a, const Window& w) { return a < w.range.start; });
  if (after == map->begin()) return nullptr;
  const auto& found = *std::prev(after);
  return found.range.contains(at) ? &found : nullptr;
}

std::byte* Memory::View::find(GuestAddress at, bool write) noexcept {
  const auto* const found = window(at);
  if (found == nullptr || (write && !found->writable)) return nullptr;
  return found->host + (at.value - found->range.start.value);
}

void Memory::View::wrote(GuestAddress at) noexcept {
  const auto* const found = window(at);
  if (found == nullptr || found->written == nullptr) return;
  const auto page = (at.value - found->range.start.value) / page_size;
  (*found->written)[page / 64].fetch_or(std::uint64_t{1} << (page % 64), std::memory_order_relaxed);
}

/// Makes the regions the map that views show, and returns when none shows the old one.
void Memory::publish() {
  auto next = std::make_unique<Map>();
  next->reserve(regions_.size());
  for (const auto& [start, region] : regions_) next->push_back(region.window);
  std::unique_ptr<const Map> old = std::exchange(map_, std::move(next));
  current_.store(map_.get(), std::memory_order_seq_cst);
  for (const auto* view : views_) {
    while (view->shown_.load(std::memory_order_seq_cst) == old.get()) std::this_thread::yield();
  }
}

// --- regions

Result<void> Memory::check(const RegionSpec& spec) const {
  const auto& range = spec.range;
  const auto refuse = [&](const char* why) {
    return Error(Errc::invalid_argument, map_operation, text_of(range) + ": " + why);
  };
  if (!range.valid()) return refuse("the range is empty or wraps");
  if (!page_aligned(range.start.value) || !page_aligned(range.size)) return refuse("the range is not page aligned");
  const auto bits = context_.host.physical_address_bits;
  if ((range.last().value >> bits) != 0) {
    return Error(Errc::out_of_range, map_operation,
                 text_of(range) + ": guest physical addresses have " + std::to_string(bits) + " bits here");
  }
  if (const auto* host = std::get_if<HostMemory>(&spec.source)) {
    if (host->address == nullptr) return refuse("the host memory is null");
    if (!page_aligned(number_of(host->address))) return refuse("the host memory is not page aligned");
  } else if (const auto* file = std::get_if<FileMemory>(&spec.source)) {
    if (!page_aligned(file->offset)) return refuse("the offset into the file is not page aligned");
  } else {
    return Error::unsupported(map_operation, to_string(Cap::hypervisor_memory));
  }
  return {};
}

Result<void> Memory::check_free(const GuestRange& range) const {
  auto after = regions_.upper_bound(range.start);
  const auto taken = [&](const Region& other) {
    return Error(Errc::already_exists, map_operation, text_of(range) + " overlaps " + text_of(other.window.range));
  };
  if (after != regions_.end() && after->second.window.range.overlaps(range)) return taken(after->second);
  if (after != regions_.begin() && std::prev(after)->second.window.range.overlaps(range)) {
    return taken(std::prev(after)->second);
  }
  return {};
}

Result<void> Memory::back(Region& region, const RegionSpec& spec) const {
  auto& window = region.window;
  if (const auto* host = std::get_if<HostMemory>(&spec.source)) {
    window.host = host->address;
    return {};
  }
  const auto& file = std::get<FileMemory>(spec.source);
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) return Error::from_errno(errno, map_operation, "the descriptor of the memory");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (S_ISREG(status.st_mode) && (file.offset > size || window.range.size > size - file.offset)) {
    // Mapped all the same it would kill this process with SIGBUS at the first touch.
    return Error(Errc::out_of_range, map_operation,
                 text_of(window.range) + ": the file has only " + std::to_string(size) + " bytes");
  }
  region.shared_fd.reset(::fcntl(file.fd, F_DUPFD_CLOEXEC, 0));
  if (!region.shared_fd.valid()) return Error::from_errno(errno, map_operation, "duplicate the descriptor");
  TRIVET_ASSIGN(region.mapping, Mapping::create(file.fd, file.offset, window.range.size, "guest memory"));
  region.shared_offset = file.offset;
  window.host = region.mapping.data();
  return {};
}

Result<void> Memory::set(const Region& region, bool unmap) const {
  abi::GuestMemory request{};
  request.size = region.window.range.size;
  request.guest_page = region.window.range.start.value / page_size;
  request.host_address = number_of(region.window.host);
  request.flags = abi::memory_flag::executable;
  if (region.access == Access::read_write) request.flags |= abi::memory_flag::writable;
  if (unmap) request.flags = abi::memory_flag::unmap;
  TRIVET_TRY(
      call(context_.partition, abi::set_guest_memory, &request, "MSHV_SET_GUEST_MEMORY", text_of(region.window.range)));
  return {};
}

Result<MappedRegion> Memory::map(const RegionSpec& spec) {
  TRIVET_TRY(check(spec));
  const std::scoped_lock lock(mutex_);
  TRIVET_TRY(check_free(spec.range));
  Region region;
  region.window.range = spec.range;
  region.access = spec.access;
  region.window.writable = spec.access == Access::read_write;
  if (spec.log_dirty) region.window.written = std::make_shared<Written>((spec.range.size / page_size + 63) / 64);
  TRIVET_TRY(back(region, spec));
  if (spec.log_dirty && logged_ == 0) TRIVET_TRY(set_tracking(true));
  if (const auto made = set(region, false); !made) {
    if (spec.log_dirty && logged_ == 0) (void)set_tracking(false);
    return made.error();
  }
  if (spec.log_dirty) {
    ++logged_;
    DirtyBitmap before;  // the hypervisor begins with pages that count as written
    TRIVET_TRY(access_bitmap(spec.range, abi::AccessOperation::clear, before));
  }
  MappedRegion mapped;
  mapped.range = spec.range;
  mapped.host = region.window.host;
  mapped.access = region.access;
  mapped.shared_fd = region.shared_fd.value();
  mapped.shared_offset = region.shared_offset;
  regions_.emplace(spec.range.start, std::move(region));
  publish();
  return mapped;
}

const Memory::Region* Memory::find(const GuestRange& range) const {
  const auto found = regions_.find(range.start);
  return found != regions_.end() && found->second.window.range == range ? &found->second : nullptr;
}

Result<void> Memory::unmap(const GuestRange& range) {
  const std::scoped_lock lock(mutex_);
  const auto* found = find(range);
  if (found == nullptr) {
    return Error(Errc::not_found, unmap_operation, text_of(range) + ": no region has exactly this range");
  }
  if (found->window.written != nullptr) {
    DirtyBitmap dropped;  // a page whose mark is clear would stay protected in the hypervisor
    TRIVET_TRY(access_bitmap(range, abi::AccessOperation::set, dropped));
  }
  auto held = regions_.extract(range.start);
  publish();  // no emulator looks at it any more
  if (const auto removed = set(held.mapped(), true); !removed) {
    regions_.insert(std::move(held));
    publish();
    return removed.error();
  }
  if (held.mapped().window.written != nullptr && --logged_ == 0) TRIVET_TRY(set_tracking(false));
  return {};
}

// --- the dirty log

Result<void> Memory::set_tracking(bool on) {
  return write_property(context_.partition, abi::property::page_access_tracking, on ? 1 : 0,
                        on ? "follow written pages" : "stop following written pages");
}

Result<void> Memory::access_bitmap(const GuestRange& range, abi::AccessOperation operation, DirtyBitmap& bitmap) const {
  const auto pages = range.size / page_size;
  bitmap.assign((pages + 63) / 64, 0);
  for (std::uint64_t done = 0; done < pages; done += most_pages) {
    abi::AccessBitmap request{};
    request.type = static_cast<std::uint8_t>(abi::AccessType::dirty);
    request.operation = static_cast<std::uint8_t>(operation);
    request.pages = std::min(most_pages, pages - done);
    request.first_page = range.start.value / page_size + done;
    request.bitmap = number_of(bitmap.data() + done / 64);
    TRIVET_TRY(call(context_.partition, abi::access_bitmap, &request, "MSHV_GET_GPAP_ACCESS_BITMAP", text_of(range)));
  }
  return {};
}

Result<DirtyBitmap> Memory::take(const GuestRange& range) {
  const std::scoped_lock lock(mutex_);
  const auto* region = find(range);
  if (region == nullptr) {
    return Error(Errc::not_found, take_operation, text_of(range) + ": no region has exactly this range");
  }
  if (region->window.written == nullptr) {
    return Error(Errc::bad_state, take_operation, text_of(range) + " was not mapped with log_dirty");
  }
  DirtyBitmap bitmap;
  TRIVET_TRY(access_bitmap(range, abi::AccessOperation::clear, bitmap));
  // What the emulator wrote on the guest's behalf, the hypervisor did not see.
  auto& written = *region->window.written;
  for (std::size_t i = 0; i < bitmap.size(); ++i) bitmap[i] |= written[i].exchange(0, std::memory_order_relaxed);
  return bitmap;
}

bool Memory::read(GuestAddress at, void* to, std::size_t bytes) const {
  const std::scoped_lock lock(mutex_);
  auto after = regions_.upper_bound(at);
  if (after == regions_.begin()) return false;
  const auto& window = std::prev(after)->second.window;
  if (!window.range.contains(at, bytes) || !window.range.contains(at)) return false;
  std::memcpy(to, window.host + (at.value - window.range.start.value), bytes);
  return true;
}

}  // namespace trivet::mshv
