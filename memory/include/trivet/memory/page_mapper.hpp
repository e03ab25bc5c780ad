// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include <trivet/core/result.hpp>
#include <trivet/memory/permission.hpp>

namespace trivet::memory {

/// Xen's and every guest's smallest page, in bytes.
inline constexpr std::uint64_t page_size = 4096;

/// What a page number of a PageMapper is.
enum class PageKind : std::uint8_t {
  frame,  ///< a guest frame number: whoever controls the domain may map it
  grant,  ///< a grant reference: the domain gave this page, perhaps for reading only, and may take it back
};

/// Pages that are mapped now, one after the other. Given back with `PageMapper::unmap`.
struct MappedPages {
  std::byte* host = nullptr;
  std::uint32_t count = 0;
  std::uint64_t token = 0;  ///< the mapper's own
};

/// Maps the pages of one other domain into this process. What the kernel's devices do, a backend may do through handles
/// of its own.
///
/// Thread rule: any thread; calls may overlap.
class PageMapper {
 public:
  PageMapper() = default;
  PageMapper(const PageMapper&) = delete;
  PageMapper& operator=(const PageMapper&) = delete;
  virtual ~PageMapper() = default;

  [[nodiscard]] virtual PageKind kind() const noexcept = 0;

  /// The highest page number there can be.
  [[nodiscard]] virtual std::uint64_t last_page() const noexcept = 0;

  /// `count` (not 0) pages from number `first`, 4 KiB each. All or nothing; the error names the first page that cannot
  /// be mapped. `not_found`: no such frame (guest). `permission`: no such grant, or not for this access (guest).
  /// `limit`, `no_memory`, `io` (host).
  virtual Result<MappedPages> map(std::uint64_t first, std::uint32_t count, Permission permission) noexcept = 0;

  virtual void unmap(const MappedPages& pages) noexcept = 0;
};

/// Maps frames of a domain through /dev/xen/privcmd, whose handle is restricted to that domain. `unsupported` (caller)
/// in the mmap build; `not_found`, `permission` (host) where there is no such device. Source: Linux
/// include/uapi/xen/privcmd.h.
Result<std::shared_ptr<PageMapper>> foreign_mapper(std::uint16_t domain);

/// Maps what a domain granted through /dev/xen/gntdev; errors as above. Source: Linux include/uapi/xen/gntdev.h.
Result<std::shared_ptr<PageMapper>> grant_mapper(std::uint16_t domain);

}  // namespace trivet::memory
