// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <utility>

#include <trivet/memory/build.hpp>

namespace trivet::memory {

class Window;

/// Keeps a window of an on-demand region mapped. In the mmap build: nothing at all. Thread rule: a value.
template <bool on_demand>
class BasicWindowGuard {
 public:
  BasicWindowGuard() noexcept = default;
  explicit BasicWindowGuard(Window*) noexcept {}
};

/// The xen build's: counts one use of the window, or none.
template <>
class BasicWindowGuard<true> {
 public:
  BasicWindowGuard() noexcept = default;
  /// Takes over one use of the window.
  explicit BasicWindowGuard(Window* window) noexcept : window_(window) {}
  BasicWindowGuard(const BasicWindowGuard& other) noexcept : window_(other.window_) {
    if (window_ != nullptr) [[unlikely]]
      retain(*window_);
  }
  BasicWindowGuard(BasicWindowGuard&& other) noexcept : window_(std::exchange(other.window_, nullptr)) {}
  BasicWindowGuard& operator=(const BasicWindowGuard& other) noexcept { return *this = BasicWindowGuard(other); }
  BasicWindowGuard& operator=(BasicWindowGuard&& other) noexcept {
    if (this == &other) return *this;
    if (window_ != nullptr) [[unlikely]]
      release(*window_);
    window_ = std::exchange(other.window_, nullptr);
    return *this;
  }
  ~BasicWindowGuard() {
    if (window_ != nullptr) [[unlikely]]
      release(*window_);
  }

 private:
  [[gnu::cold]] static void retain(Window& window) noexcept;
  [[gnu::cold]] static void release(Window& window) noexcept;

  Window* window_ = nullptr;
};

using WindowGuard = BasicWindowGuard<maps_on_demand>;

}  // namespace trivet::memory
