// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <limits>
#include <new>
#include <span>
#include <sys/mman.h>
#include <utility>
#include <vector>

#include <trivet/memory/page_mapper.hpp>

#include "abi/gntdev.hpp"
#include "xen_device.hpp"

namespace trivet::memory {
namespace {

constexpr const char* operation = "map grants of a domain";

class GrantMapper final : public PageMapper {
 public:
  GrantMapper(UniqueFd device, std::uint16_t domain) noexcept : device_(std::move(device)), domain_(domain) {}

  [[nodiscard]] PageKind kind() const noexcept override { return PageKind::grant; }
  [[nodiscard]] std::uint64_t last_page() const noexcept override { return std::numeric_limits<std::uint32_t>::max(); }

  Result<MappedPages> map(std::uint64_t first, std::uint32_t count, Permission permission) noexcept override {
    // A window's worth needs no heap.
    constexpr std::uint32_t few = 256;
    if (count <= few) {
      std::array<abi::GntdevGrantRef, few + header> request;
      return map_grants(first, std::span(request).first(count + header), permission);
    }
    try {
      std::vector<abi::GntdevGrantRef> request(count + header);
      return map_grants(first, request, permission);
    } catch (const std::bad_alloc&) {
      return Error::from_errno(ENOMEM, operation, "the list of grant references");
    }
  }

  void unmap(const MappedPages& pages) noexcept override {
    ::munmap(pages.host, pages.count * page_size);
    forget(pages.token, pages.count);
  }

 private:
  /// The request's fixed part, in units of what follows it.
  static constexpr std::size_t header = sizeof(abi::GntdevMapGrantRef) / sizeof(abi::GntdevGrantRef);

  /// The device keeps a list of what was announced to it.
  void forget(std::uint64_t index, std::uint32_t count) noexcept {
    abi::GntdevUnmapGrantRef request{index, count, 0};
    ::ioctl(device_.value(), abi::gntdev_unmap_grant_ref, &request);
  }

  Result<MappedPages> map_grants(std::uint64_t first, std::span<abi::GntdevGrantRef> request,
                                 Permission permission) noexcept {
    int failed = 0;
    auto pages = try_map(first, request, permission, failed);
    if (pages || failed == 0) return pages;
    // The device does not say which: halve until one is left. What can be mapped now may be gone a moment later, which
    // is the guest's doing; then the last one looked at is named.
    auto left = static_cast<std::uint32_t>(request.size() - header);
    while (left > 1) {
      const std::uint32_t half = left / 2;
      int half_failed = 0;
      auto probe = try_map(first, request.first(half + header), permission, half_failed);
      if (!probe && half_failed == 0) return probe;
      if (probe) {
        unmap(*probe);
        first += half;
        left -= half;
      } else {
        left = half;
      }
    }
    return page_error(Errc::permission, operation, "grant reference", first, domain_,
                      permission == Permission::write ? "not granted to this domain, or for reading only"
                                                      : "not granted to this domain");
  }

  /// `failed` is not 0 when one of the references is to blame.
  Result<MappedPages> try_map(std::uint64_t first, std::span<abi::GntdevGrantRef> request, Permission permission,
                              int& failed) noexcept {
    abi::GntdevMapGrantRef head{static_cast<std::uint32_t>(request.size() - header), 0, 0};
    for (std::uint32_t i = 0; i < head.count; ++i) {
      request[header + i] = {domain_, static_cast<std::uint32_t>(first + i)};
    }
    std::memcpy(request.data(), &head, sizeof(head));
    if (::ioctl(device_.value(), abi::gntdev_map_grant_ref, request.data()) < 0) {
      return Error::from_errno(errno, operation,
                               fmt::format("domain {}, {} grants from {:#x}: at most as many as "
                                           "/sys/module/xen_gntdev/parameters/limit",
                                           domain_, head.count, first));
    }
    std::memcpy(&head, request.data(), sizeof(head));

    const int protection = PROT_READ | (permission == Permission::write ? PROT_WRITE : 0);
    void* at = ::mmap(nullptr, head.count * page_size, protection, MAP_SHARED, device_.value(),
                      static_cast<off_t>(head.index));
    if (at != MAP_FAILED) return MappedPages{static_cast<std::byte*>(at), head.count, head.index};
    const int error = errno;
    forget(head.index, head.count);
    if (error != ENOMEM) failed = error;
    return Error::from_errno(error, operation, "mmap of /dev/xen/gntdev");
  }

  UniqueFd device_;
  std::uint16_t domain_;
};

}  // namespace

Result<std::shared_ptr<PageMapper>> grant_mapper(std::uint16_t domain) {
  TRIVET_ASSIGN(auto device, open_xen_device(operation, "/dev/xen/gntdev"));
  return std::make_shared<GrantMapper>(std::move(device), domain);
}

}  // namespace trivet::memory
