// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "window_cache.hpp"

#include <array>
#include <fmt/format.h>
#include <span>
#include <utility>

namespace trivet::memory {

void BasicWindowGuard<true>::retain(Window& window) noexcept {
  window.cache_->retain(window);
}

void BasicWindowGuard<true>::release(Window& window) noexcept {
  window.cache_->release(window);
}

WindowCache::WindowCache(DomainPages pages) : source_(std::move(pages)), windows_(most_windows) {
  free_.reserve(windows_.size());
  for (auto window = windows_.rbegin(); window != windows_.rend(); ++window) {
    window->cache_ = this;
    free_.push_back(&*window);
  }
}

WindowCache::~WindowCache() {
  // A slice outlives no GuestMemory, so nobody uses any.
  for (Window& window : windows_) {
    if (window.mapped()) source_.mapper->unmap(window.pages_);
  }
}

Result<WindowCache::Held> WindowCache::acquire(std::uint64_t page, std::uint32_t count,
                                               Permission permission) noexcept {
  const std::lock_guard lock(mutex_);
  Window* window = find(page, count, permission == Permission::write);
  if (window == nullptr) {
    TRIVET_ASSIGN(window, map(page, count, permission));
  } else if (window->users_ == 0) {
    idle_ -= window->pages_.count;
  }
  ++window->users_;
  window->last_use_ = ++clock_;
  return Held{window, window->pages_.host + (page - window->first_) * page_size};
}

Window* WindowCache::find(std::uint64_t page, std::uint32_t count, bool writable) noexcept {
  for (Window& window : std::span(windows_).first(touched_)) {
    if (window.mapped() && !window.stale_ && (window.writable_ || !writable) && page >= window.first_ &&
        page - window.first_ <= window.pages_.count && count <= window.pages_.count - (page - window.first_)) {
      return &window;
    }
  }
  return nullptr;
}

Result<Window*> WindowCache::map(std::uint64_t page, std::uint32_t count, Permission permission) noexcept {
  if (free_.empty() || count > source_.most_pages - mapped_) unmap_idle();
  if (free_.empty() || count > source_.most_pages - mapped_) {
    std::array<char, 128> text{};
    const auto end = fmt::format_to_n(text.data(), text.size(),
                                      "{} pages are in use at once, of {}; no room for {} more from page {:#x}",
                                      mapped_, source_.most_pages, count, source_.first_page + page);
    return Error(Errc::limit, "map pages on demand", {text.data(), std::min(end.size, text.size())}, Blame::guest);
  }
  TRIVET_ASSIGN(const MappedPages pages, source_.mapper->map(source_.first_page + page, count, permission));
  Window* window = free_.back();
  free_.pop_back();
  touched_ = std::max(touched_, static_cast<std::size_t>(window - windows_.data()) + 1);
  window->pages_ = pages;
  window->first_ = page;
  window->writable_ = permission == Permission::write;
  window->stale_ = false;
  mapped_ += count;
  return window;
}

void WindowCache::unmap(Window& window) noexcept {
  mapped_ -= window.pages_.count;
  source_.mapper->unmap(std::exchange(window.pages_, {}));
  free_.push_back(&window);
}

void WindowCache::retain(Window& window) noexcept {
  const std::lock_guard lock(mutex_);
  ++window.users_;
}

void WindowCache::release(Window& window) noexcept {
  const std::lock_guard lock(mutex_);
  if (--window.users_ != 0) return;
  if (window.stale_) return unmap(window);
  idle_ += window.pages_.count;
  evict_beyond_limit();
}

void WindowCache::evict_beyond_limit() noexcept {
  while (idle_ > source_.cached_pages) {
    Window* oldest = nullptr;
    for (Window& window : std::span(windows_).first(touched_)) {
      if (!window.mapped() || window.users_ != 0) continue;
      if (oldest == nullptr || window.last_use_ < oldest->last_use_) oldest = &window;
    }
    idle_ -= oldest->pages_.count;
    unmap(*oldest);
  }
}

void WindowCache::unmap_idle() noexcept {
  if (idle_ == 0) return;
  for (Window& window : std::span(windows_).first(touched_)) {
    if (window.mapped() && window.users_ == 0) unmap(window);
  }
  idle_ = 0;
}

void WindowCache::release_idle() noexcept {
  const std::lock_guard lock(mutex_);
  unmap_idle();
}

void WindowCache::drop() noexcept {
  const std::lock_guard lock(mutex_);
  unmap_idle();
  for (Window& window : std::span(windows_).first(touched_)) window.stale_ = window.mapped();
}

}  // namespace trivet::memory
