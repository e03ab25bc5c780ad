// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <limits>
#include <new>
#include <numeric>
#include <span>
#include <sys/mman.h>
#include <utility>
#include <vector>

#include <trivet/memory/page_mapper.hpp>

#include "abi/privcmd.hpp"
#include "xen_device.hpp"

namespace trivet::memory {
namespace {

constexpr const char* operation = "map frames of a domain";

class ForeignMapper final : public PageMapper {
 public:
  ForeignMapper(UniqueFd device, std::uint16_t domain) noexcept : device_(std::move(device)), domain_(domain) {}

  [[nodiscard]] PageKind kind() const noexcept override { return PageKind::frame; }
  [[nodiscard]] std::uint64_t last_page() const noexcept override {
    return std::numeric_limits<std::uint64_t>::max() / page_size;
  }

  Result<MappedPages> map(std::uint64_t first, std::uint32_t count, Permission permission) noexcept override {
    // A window's worth needs no heap.
    constexpr std::uint32_t few = 256;
    std::array<std::uint64_t, few> frames;
    std::array<std::int32_t, few> errors;
    if (count <= few)
      return map_frames(first, std::span(frames).first(count), std::span(errors).first(count), permission);
    try {
      std::vector<std::uint64_t> many_frames(count);
      std::vector<std::int32_t> many_errors(count);
      return map_frames(first, many_frames, many_errors, permission);
    } catch (const std::bad_alloc&) {
      return Error::from_errno(ENOMEM, operation, "the list of frames");
    }
  }

  void unmap(const MappedPages& pages) noexcept override { ::munmap(pages.host, pages.count * page_size); }

 private:
  Result<MappedPages> map_frames(std::uint64_t first, std::span<std::uint64_t> frames, std::span<std::int32_t> errors,
                                 Permission permission) noexcept {
    std::iota(frames.begin(), frames.end(), first);
    std::fill(errors.begin(), errors.end(), 0);
    const int protection = PROT_READ | (permission == Permission::write ? PROT_WRITE : 0);
    void* at = ::mmap(nullptr, frames.size() * page_size, protection, MAP_SHARED, device_.value(), 0);
    if (at == MAP_FAILED) return Error::from_errno(errno, operation, "mmap of /dev/xen/privcmd");
    const MappedPages pages{static_cast<std::byte*>(at), static_cast<std::uint32_t>(frames.size()), 0};

    // SAFETY: only the number is taken.
    abi::PrivcmdMmapBatch batch{pages.count, domain_, reinterpret_cast<std::uint64_t>(at), frames.data(),
                                errors.data()};
    const int failed = ::ioctl(device_.value(), abi::privcmd_mmap_batch_v2, &batch) < 0 ? errno : 0;
    // A frame that is not there is told in its own status; the call itself succeeds.
    const auto bad = std::find_if(errors.begin(), errors.end(), [](std::int32_t error) { return error != 0; });
    if (failed == 0 && bad == errors.end()) return pages;
    unmap(pages);
    if (bad == errors.end()) {
      return Error::from_errno(failed, operation,
                               fmt::format("domain {}, {} frames from {:#x}", domain_, pages.count, first));
    }
    return page_error(Errc::not_found, operation, "frame", first + static_cast<std::uint64_t>(bad - errors.begin()),
                      domain_, std::strerror(-*bad));
  }

  UniqueFd device_;
  std::uint16_t domain_;
};

}  // namespace

Result<std::shared_ptr<PageMapper>> foreign_mapper(std::uint16_t domain) {
  TRIVET_ASSIGN(auto device, open_xen_device(operation, "/dev/xen/privcmd"));
  if (::ioctl(device.value(), abi::privcmd_restrict, &domain) < 0) {
    return Error::from_errno(errno, operation, fmt::format("restrict /dev/xen/privcmd to domain {}", domain));
  }
  return std::make_shared<ForeignMapper>(std::move(device), domain);
}

}  // namespace trivet::memory
