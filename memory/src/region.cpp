// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <fmt/format.h>
#include <limits>
#include <utility>

#include <trivet/memory/access.hpp>
#include <trivet/memory/build.hpp>
#include <trivet/memory/region.hpp>

#include "window_cache.hpp"

namespace trivet::memory {
namespace {

/// Page alignment here and of the host makes every aligned guest access an aligned host access.
Result<GuestRange> check_range(GuestAddress start, std::uint64_t size) {
  const auto range = GuestRange::create(start, size);
  if (!range || !start.is_aligned(page_size) || size % page_size != 0) {
    return Error(Errc::invalid_argument, "make a memory region",
                 fmt::format("{:#x} bytes at {:#x}: empty, wrapping or not page aligned", size, start.value));
  }
  return *range;
}

Result<void> check_pages(const GuestRange& range, const DomainPages& pages, const Region::Options& options) {
  constexpr const char* operation = "make a memory region of another domain's pages";
  if constexpr (!maps_on_demand) {
    return Error::unsupported(operation, "this build maps guest memory with mmap only (TRIVET_GUEST_MEMORY=xen does)");
  }
  if (!pages.mapper) return Error(Errc::invalid_argument, operation, "no mapper");
  const std::uint64_t last = pages.mapper->last_page();
  const std::uint64_t count = range.size / page_size;
  if (pages.first_page > last || count - 1 > last - pages.first_page) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("{:#x} pages from {:#x}: the last there can be is {:#x}", count, pages.first_page, last));
  }
  if (!pages.on_demand) {
    if (count <= std::numeric_limits<std::uint32_t>::max()) return {};
    return Error(Errc::invalid_argument, operation, fmt::format("{:#x} pages are too many to map at once", count));
  }
  if (pages.mapper->kind() != PageKind::grant) return Error::unsupported(operation, "frames are mapped at once");
  if (options.track_dirty) return Error::unsupported(operation, "no dirty bitmap where pages are mapped on demand");
  if (pages.most_pages == 0) return Error(Errc::invalid_argument, operation, "no page may be mapped (most_pages 0)");
  return {};
}

}  // namespace

Region::Region() = default;

Region::~Region() {
  if (pages_.count != 0) mapper_->unmap(pages_);
}

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

Result<std::shared_ptr<const Region>> Region::create(GuestAddress start, std::uint64_t size, DomainPages pages,
                                                     Options options) {
  TRIVET_ASSIGN(const GuestRange range, check_range(start, size));
  TRIVET_TRY(check_pages(range, pages, options));
  std::shared_ptr<Region> region(new Region);
  region->range_ = range;
  region->access_ = options.access;
  // Foreign pages fail get_user_pages; unmapping a granted one that is still pinned corrupts the kernel's page.
  region->can_pin_ = false;
  if (pages.on_demand) {
    region->kind_ = RegionKind::grant_on_demand;
    region->windows_ = std::make_unique<WindowCache>(std::move(pages));
    return region;
  }
  region->kind_ = pages.mapper->kind() == PageKind::grant ? RegionKind::grant : RegionKind::foreign;
  const auto permission = options.access == Access::read_write ? Permission::write : Permission::read;
  TRIVET_ASSIGN(region->pages_,
                pages.mapper->map(pages.first_page, static_cast<std::uint32_t>(size / page_size), permission));
  region->mapper_ = std::move(pages.mapper);
  region->host_ = region->pages_.host;
  if (options.track_dirty) region->dirty_ = std::make_unique<DirtyBitmap>(range.size);
  return region;
}

Result<std::shared_ptr<const Region>> Region::create(GuestAddress start, std::uint64_t size, DomainPages pages) {
  return create(start, size, std::move(pages), Options{});
}

}  // namespace trivet::memory
