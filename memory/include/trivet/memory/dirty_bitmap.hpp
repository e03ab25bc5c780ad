// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace trivet::memory {

/// Which 4 KiB pages this process wrote. Atomic: marking is one relaxed load and, for a clean page, one fetch_or.
///
/// Mark after writing. Whoever copies a page after a `take` that had it, or before a later `take` that has it, misses
/// nothing: a mark that found its page dirty costs no barrier, `take` makes up for it with membarrier(2) (which a
/// seccomp filter must allow; where the kernel has none, each mark is a fetch_or). Thread rule: any thread; a mark made
/// before a `take` is in that take or an earlier one.
class DirtyBitmap {
 public:
  static constexpr std::uint64_t page_size = 4096;

  /// For `bytes` bytes, rounded up to pages; all clean.
  explicit DirtyBitmap(std::uint64_t bytes);

  [[nodiscard]] std::uint64_t pages() const noexcept { return pages_; }

  /// Marks the pages that `size` bytes at `offset` touch. What lies beyond the end is ignored.
  void mark(std::uint64_t offset, std::uint64_t size) noexcept {
    if (size == 0) return;
    const std::uint64_t first = offset / page_size;
    const std::uint64_t span = size - 1 > ~offset ? ~offset : size - 1;  // to the end of the address space at most
    const std::uint64_t last = (offset + span) / page_size;
    if (first != last) return mark_pages(first, last);
    if (first < pages_) mark_word(first / 64, std::uint64_t{1} << (first % 64));
  }

  [[nodiscard]] bool is_dirty(std::uint64_t page) const noexcept;

  /// The bits, one a page, bit 0 of word 0 first; all clean afterwards.
  [[nodiscard]] std::vector<std::uint64_t> take();

  void clear() noexcept;
  /// The pages that `size` bytes at `offset` touch: for who has copied just those. Marks made meanwhile may be lost, as
  /// with `clear`: nobody may write those pages then.
  void clear(std::uint64_t offset, std::uint64_t size) noexcept;

  /// For `bytes` bytes from now on, rounded up to pages; those there are stay as they are. Fewer than now: no change.
  /// Nobody may use it meanwhile.
  void enlarge(std::uint64_t bytes);

  /// The bitmap seen from one place in it, for who knows offsets within a part only.
  class Part {
   public:
    void mark(std::uint64_t offset, std::uint64_t size) const noexcept {
      if (offset <= ~start_) bitmap_->mark(start_ + offset, size);
    }
    /// `page` counts from the page of the part's first byte.
    [[nodiscard]] bool is_dirty(std::uint64_t page) const noexcept {
      const std::uint64_t first = start_ / page_size;
      return page <= ~first && bitmap_->is_dirty(first + page);
    }
    /// A part of this part.
    [[nodiscard]] Part part(std::uint64_t offset) const noexcept {
      return {bitmap_, offset <= ~start_ ? start_ + offset : ~std::uint64_t{0}};
    }

   private:
    friend class DirtyBitmap;
    Part(DirtyBitmap* bitmap, std::uint64_t start) noexcept : bitmap_(bitmap), start_(start) {}
    DirtyBitmap* bitmap_;
    std::uint64_t start_;
  };

  /// From `offset` on. Valid while the bitmap lives.
  [[nodiscard]] Part part(std::uint64_t offset) noexcept { return {this, offset}; }

 private:
  void mark_word(std::uint64_t word, std::uint64_t mask) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the bytes first, also for the compiler
    if (skip_dirty_.load(std::memory_order_relaxed) && (words_[word].load(std::memory_order_relaxed) & mask) == mask) {
      return;
    }
    words_[word].fetch_or(mask, std::memory_order_seq_cst);
  }
  void mark_pages(std::uint64_t first, std::uint64_t last) noexcept;
  /// Calls `change(word, mask)` for each word that has pages of them.
  template <class Change>
  void for_words(std::uint64_t first, std::uint64_t last, Change change) noexcept;

  std::vector<std::atomic<std::uint64_t>> words_;
  std::uint64_t pages_;
  std::atomic<bool> skip_dirty_;
};

}  // namespace trivet::memory
