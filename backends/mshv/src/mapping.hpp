// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <sys/mman.h>
#include <utility>

#include <trivet/core/result.hpp>

namespace trivet::mshv {

/// Owns one shared mapping of a descriptor, or of no file for descriptor -1. Thread rule: like any value.
class Mapping {
 public:
  /// `no_memory` and what mmap(2) says (host); `what` names the thing mapped.
  static Result<Mapping> create(int fd, std::size_t offset, std::size_t size, const char* what);

  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Mapping() {
    if (address_ != nullptr) ::munmap(address_, size_);
  }

  [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(address_); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  Mapping(void* address, std::size_t size) noexcept : address_(address), size_(size) {}
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace trivet::mshv
