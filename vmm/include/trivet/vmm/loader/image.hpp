// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/memory/guest_memory.hpp>

namespace trivet::vmm {

/// What goes into a guest at start: a kernel or an initial RAM disk, in a file or in this process. Its bytes are not
/// trusted. Thread rule: any thread, once made.
class Image {
 public:
  /// `not_found`, `permission`, `io` (host); `invalid_argument` (caller) when it is no regular file or is empty.
  static Result<Image> open(const std::string& path);

  /// `bytes` must outlive the image. `name` is for errors.
  static Image from_memory(ConstBytes bytes, std::string name);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// In bytes, as it was when opened.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] bool contains(std::uint64_t offset, std::uint64_t bytes) const noexcept {
    return offset <= size_ && bytes <= size_ - offset;
  }

  /// `malformed` when they reach beyond the end, also of a file that has shrunk; `io` (host).
  Result<void> read(std::uint64_t offset, Bytes out) const;

  /// Puts `bytes` bytes from `offset` at a guest address. Whole pages of a file are mapped privately over the guest's
  /// memory, so that nothing is read until it is touched, where that is possible and safe: memory that this process
  /// alone has and that is not in huge pages, and a file that only root or this user may write (one that others can
  /// shrink could kill the guest). All else is copied. Errors as `read`; `out_of_range` (caller) when the guest has no
  /// memory there.
  Result<void> place(const memory::GuestMemory& memory, GuestAddress at, std::uint64_t offset,
                     std::uint64_t bytes) const;

  /// An error about this image: `malformed`, its name first.
  [[nodiscard]] Error malformed(const char* operation, std::string_view detail) const;

 private:
  Image() = default;
  Result<void> copy(const memory::GuestMemory& memory, GuestAddress at, std::uint64_t offset,
                    std::uint64_t bytes) const;
  Result<bool> map(const memory::GuestMemory& memory, GuestAddress at, std::uint64_t offset, std::uint64_t bytes) const;

  std::string name_;
  UniqueFd fd_;
  ConstBytes bytes_;
  std::uint64_t size_ = 0;
  bool may_map_ = false;
};

}  // namespace trivet::vmm
