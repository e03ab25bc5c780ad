// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <trivet/core/result.hpp>
#include <trivet/memory/page_mapper.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/memory/window_guard.hpp>

namespace trivet::memory {

class WindowCache;

/// One run of pages that is mapped now. The cache's lock guards everything in it.
class Window {
 private:
  friend class WindowCache;
  friend class BasicWindowGuard<true>;

  [[nodiscard]] bool mapped() const noexcept { return pages_.count != 0; }

  WindowCache* cache_ = nullptr;
  MappedPages pages_;
  std::uint64_t first_ = 0;  // page of the region
  std::uint64_t last_use_ = 0;
  std::uint32_t users_ = 0;
  bool writable_ = false;
  bool stale_ = false;  // its pages may be others by now: unmapped after its last user, never used again
};

/// The windows of one on-demand region: those in use, and a bounded number that are not. A page may lie in several
/// windows, so that no mapping that somebody uses is ever replaced. Thread rule: any thread; allocates nothing once
/// made; takes a lock, maps and unmaps under it.
class WindowCache {
 public:
  /// The longest window, in pages: a ring of the largest size, and a megabyte of a buffer at a time.
  static constexpr std::uint32_t longest = 256;

  explicit WindowCache(DomainPages pages);
  ~WindowCache();
  WindowCache(const WindowCache&) = delete;
  WindowCache& operator=(const WindowCache&) = delete;

  /// A window in use, and where the page asked for lies in it.
  struct Held {
    Window* window;
    std::byte* host;
  };

  /// `count` pages (not 0, at most `longest`) from `page` of the region. As PageMapper::map; `limit` (guest) when too
  /// many are in use.
  Result<Held> acquire(std::uint64_t page, std::uint32_t count, Permission permission) noexcept;

  /// Unmaps what nobody uses.
  void release_idle() noexcept;
  /// The same; and what is in use is not used again.
  void drop() noexcept;

 private:
  friend class BasicWindowGuard<true>;

  static constexpr std::size_t most_windows = 1024;

  void retain(Window& window) noexcept;
  void release(Window& window) noexcept;

  // With the lock held.
  [[nodiscard]] Window* find(std::uint64_t page, std::uint32_t count, bool writable) noexcept;
  Result<Window*> map(std::uint64_t page, std::uint32_t count, Permission permission) noexcept;
  void unmap(Window& window) noexcept;
  void unmap_idle() noexcept;
  void evict_beyond_limit() noexcept;

  const DomainPages source_;
  std::mutex mutex_;
  std::vector<Window> windows_;
  std::vector<Window*> free_;
  std::size_t touched_ = 0;  // windows_ beyond it were never used
  std::uint64_t clock_ = 0;
  std::uint32_t mapped_ = 0;  // pages
  std::uint32_t idle_ = 0;    // pages of those
};

}  // namespace trivet::memory
