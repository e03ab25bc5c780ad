// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <utility>

#include <trivet/mshv/system.hpp>

namespace trivet::mshv {

/// Owns a descriptor of a System. Thread rule: like any value.
class Handle {
 public:
  Handle(const System& system, int fd) noexcept : system_(&system), fd_(fd) {}
  Handle(Handle&& other) noexcept : system_(other.system_), fd_(std::exchange(other.fd_, -1)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(system_, other.system_);
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Handle() {
    if (fd_ >= 0) (void)system_->close(fd_);
  }
  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] const System& system() const noexcept { return *system_; }

 private:
  const System* system_;
  int fd_;
};

/// Owns a mapped state page. Thread rule: like any value.
class Page {
 public:
  Page(const System& system, void* address) noexcept : system_(&system), address_(address) {}
  Page(Page&& other) noexcept : system_(other.system_), address_(std::exchange(other.address_, nullptr)) {}
  Page& operator=(Page&&) = delete;
  ~Page() {
    if (address_ != nullptr) system_->unmap_page(address_);
  }
  [[nodiscard]] void* address() const noexcept { return address_; }

 private:
  const System* system_;
  void* address_;
};

}  // namespace trivet::mshv
