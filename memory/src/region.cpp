// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <fmt/format.h>
#include <utility>

#include <trivet/memory/access.hpp>
#include <trivet/memory/region.hpp>

namespace trivet::memory {
namespace {

constexpr std::uint64_t page_size = 4096;

/// Page alignment here and of the host makes every aligned guest access an aligned host access.
Result<GuestRange> check_range(GuestAddress start, std::uint64_t size) {
  const auto range = GuestRange::create(start, size);
  if (!range || !start.is_aligned(page_size) || size % page_size != 0) {
    return Error(Errc::invalid_argument, "make a memory region",
                 fmt::format("{:#x} bytes at {:#x}: empty, wrapping or not page aligned", size, start.value));
  }
  return *range;
}

}  // namespace

Result<std::shared_ptr<const Region>> Region::create(GuestAddress start, Mapping mapping, Options options) {
  TRIVET_ASSIGN(const GuestRange range, check_range(start, mapping.size()));
  std::shared_ptr<Region> region(new Region);
  region->range_ = range;
  region->host_ = mapping.data();
  region->access_ = options.access;
  region->shared_fd_ = mapping.fd();
  region->shared_offset_ = mapping.fd_offset();
  region->mapping_ = std::move(mapping);
  if (options.track_dirty) region->dirty_ = std::make_unique<DirtyBitmap>(range.size);
  return region;
}

Result<std::shared_ptr<const Region>> Region::create(GuestAddress start, Mapping mapping) {
  return create(start, std::move(mapping), Options{});
}

Result<std::shared_ptr<const Region>> Region::create(const MappedRegion& mapped, bool track_dirty) {
  TRIVET_ASSIGN(const GuestRange range, check_range(mapped.range.start, mapped.range.size));
  if (mapped.host == nullptr || !is_aligned(mapped.host, page_size)) {
    return Error(Errc::invalid_argument, "make a memory region",
                 fmt::format("{:#x}: the host memory is null or not page aligned", range.start.value));
  }
  std::shared_ptr<Region> region(new Region);
  region->range_ = range;
  region->host_ = mapped.host;
  region->access_ = mapped.access;
  region->can_pin_ = mapped.can_pin;
  region->shared_fd_ = mapped.shared_fd;
  region->shared_offset_ = mapped.shared_offset;
  if (track_dirty) region->dirty_ = std::make_unique<DirtyBitmap>(range.size);
  return region;
}

}  // namespace trivet::memory
