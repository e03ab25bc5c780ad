// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>

namespace trivet::memory {

/// Owns one mapping of host memory and, where it has one, the descriptor behind it. Unmapped when destroyed.
/// Sizes and offsets are multiples of the page size (4 KiB; the huge page size where asked for), else
/// `invalid_argument` (caller). Thread rule: a value; the memory itself is anybody's.
class Mapping {
 public:
  /// Private anonymous memory; costs no descriptor. `no_memory` (host).
  static Result<Mapping> anonymous(std::uint64_t size);

  /// Shareable memory (memfd_create); `huge_page_size` 0, 2 MiB or 1 GiB (hugetlbfs; `no_memory` when none is
  /// reserved).
  static Result<Mapping> memfd(const char* name, std::uint64_t size, std::uint64_t huge_page_size = 0);

  /// A file's bytes, shared: what the guest writes lands in the file. The descriptor is duplicated.
  static Result<Mapping> file(int fd, std::uint64_t offset, std::uint64_t size, bool writable = true);

  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// -1 where there is none.
  [[nodiscard]] int fd() const noexcept { return fd_.value(); }
  [[nodiscard]] std::uint64_t fd_offset() const noexcept { return fd_offset_; }

  /// Whether touching it gives huge pages: hugetlbfs, or anonymous memory on a host whose transparent huge pages are
  /// on for everybody (/sys/kernel/mm/transparent_hugepage/enabled says `always`).
  [[nodiscard]] bool in_huge_pages() const noexcept { return in_huge_pages_; }

  /// Puts a private copy-on-write view of a file over part of this mapping: pages come from the page cache as they are
  /// touched, which makes loading a kernel free. Those pages are small ones: where memory would be `in_huge_pages`, the
  /// guest pays a fault for each, and a copy is the better start. `offset`, `file_offset` and `size` are page aligned.
  /// `out_of_range` (caller); `io` (host). A file truncated later gives SIGBUS: map only files nobody shrinks.
  Result<void> overlay(std::uint64_t offset, int fd, std::uint64_t file_offset, std::uint64_t size) const;

 private:
  Mapping(std::byte* data, std::uint64_t size, UniqueFd fd, std::uint64_t fd_offset, bool in_huge_pages) noexcept
      : data_(data), size_(size), fd_(std::move(fd)), fd_offset_(fd_offset), in_huge_pages_(in_huge_pages) {}

  std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
  UniqueFd fd_;
  std::uint64_t fd_offset_ = 0;
  bool in_huge_pages_ = false;
};

}  // namespace trivet::memory
