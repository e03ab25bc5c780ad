// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

#include <trivet/memory/dirty_bitmap.hpp>

namespace trivet::memory {
namespace {

std::uint64_t pages_of(std::uint64_t bytes) noexcept {
  return bytes / DirtyBitmap::page_size + (bytes % DirtyBitmap::page_size != 0 ? 1 : 0);
}

/// Registers this process for `barrier_everywhere`, once. False on a kernel that cannot.
bool can_barrier_everywhere() noexcept {
  static const bool can = ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
  return can;
}

/// Every running thread of this process passes a full barrier before this returns.
bool barrier_everywhere() noexcept {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

}  // namespace

DirtyBitmap::DirtyBitmap(std::uint64_t bytes)
    : words_((pages_of(bytes) + 63) / 64), pages_(pages_of(bytes)), skip_dirty_(can_barrier_everywhere()) {}

template <class Change>
void DirtyBitmap::for_words(std::uint64_t first, std::uint64_t last, Change change) noexcept {
  if (first >= pages_) return;
  if (last >= pages_) last = pages_ - 1;
  for (std::uint64_t word = first / 64; word <= last / 64; ++word) {
    std::uint64_t mask = ~std::uint64_t{0};
    if (word == first / 64) mask &= ~std::uint64_t{0} << (first % 64);
    if (word == last / 64) mask &= ~std::uint64_t{0} >> (63 - last % 64);
    change(word, mask);
  }
}

void DirtyBitmap::mark_pages(std::uint64_t first, std::uint64_t last) noexcept {
  for_words(first, last, [&](std::uint64_t word, std::uint64_t mask) { mark_word(word, mask); });
}

bool DirtyBitmap::is_dirty(std::uint64_t page) const noexcept {
  return page < pages_ && (words_[page / 64].load(std::memory_order_acquire) >> (page % 64) & 1) != 0;
}

std::vector<std::uint64_t> DirtyBitmap::take() {
  std::vector<std::uint64_t> bits(words_.size());
  bool any = false;
  for (std::size_t word = 0; word < words_.size(); ++word) {
    if (words_[word].load(std::memory_order_relaxed) == 0) continue;
    bits[word] = words_[word].exchange(0, std::memory_order_seq_cst);
    any = true;
  }
  // A writer that saw its page still dirty did not mark again: its bytes must be visible to whoever copies the pages
  // next. A kernel that took the registration and refuses this (a seccomp filter) loses the short cut for what comes.
  if (any && skip_dirty_.load(std::memory_order_relaxed) && !barrier_everywhere()) {
    skip_dirty_.store(false, std::memory_order_relaxed);
  }
  return bits;
}

void DirtyBitmap::clear() noexcept {
  for (auto& word : words_) word.store(0, std::memory_order_seq_cst);
}

void DirtyBitmap::clear(std::uint64_t offset, std::uint64_t size) noexcept {
  if (size == 0) return;
  const std::uint64_t span = size - 1 > ~offset ? ~offset : size - 1;
  for_words(offset / page_size, (offset + span) / page_size,
            [&](std::uint64_t word, std::uint64_t mask) { words_[word].fetch_and(~mask, std::memory_order_seq_cst); });
}

void DirtyBitmap::enlarge(std::uint64_t bytes) {
  const std::uint64_t pages = pages_of(bytes);
  if (pages <= pages_) return;
  std::vector<std::atomic<std::uint64_t>> words((pages + 63) / 64);
  for (std::size_t i = 0; i < words_.size(); ++i) words[i] = words_[i].load(std::memory_order_relaxed);
  words_ = std::move(words);
  pages_ = pages;
}

}  // namespace trivet::memory
