// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <sys/mman.h>
#include <utility>
#include <vector>

#include <trivet/memory/mapping.hpp>
#include <trivet/memory/page_mapper.hpp>

namespace trivet::test {

/// The fake of another domain's pages, named in memory/README.md: pages of a memfd that are really mapped and unmapped,
/// so that an access through a window that is gone dies as it would with Xen. The tests that use it run with the
/// kernel's real devices too, in the Xen testbed. Thread rule: as PageMapper; `set` not while others map.
class FakePages final : public memory::PageMapper {
 public:
  enum class State : std::uint8_t { none, read_only, read_write };

  FakePages(std::uint64_t first, std::uint32_t count, memory::PageKind kind = memory::PageKind::grant)
      : kind_(kind), first_(first), states_(count, State::read_write) {
    auto made = memory::Mapping::memfd("pages", count * memory::page_size);
    if (!made) std::abort();
    own_.emplace_back(std::move(*made));
  }

  /// The domain's own view.
  [[nodiscard]] std::byte* own(std::uint64_t page) const noexcept {
    return own_[0].data() + (page - first_) * memory::page_size;
  }
  void set(std::uint64_t page, State state) { states_[page - first_] = state; }

  [[nodiscard]] std::uint32_t mapped() const noexcept { return mapped_; }  ///< pages, now
  [[nodiscard]] unsigned maps() const noexcept { return maps_; }           ///< successful calls of map, ever
  [[nodiscard]] std::uint32_t most_mapped() const noexcept { return most_; }

  [[nodiscard]] memory::PageKind kind() const noexcept override { return kind_; }
  [[nodiscard]] std::uint64_t last_page() const noexcept override { return 0xffffffff; }

  Result<memory::MappedPages> map(std::uint64_t first, std::uint32_t count,
                                  memory::Permission permission) noexcept override {
    const bool writes = permission == memory::Permission::write;
    for (std::uint64_t page = first; page < first + count; ++page) {
      const bool known = page >= first_ && page - first_ < states_.size();
      const State state = known ? states_[page - first_] : State::none;
      if (state == State::none || (writes && state == State::read_only)) {
        const auto text = "page " + std::to_string(page);
        const auto code = kind_ == memory::PageKind::grant ? Errc::permission : Errc::not_found;
        return Error(code, "map fake pages", text, Blame::guest);
      }
    }
    void* at = ::mmap(nullptr, count * memory::page_size, PROT_READ | (writes ? PROT_WRITE : 0), MAP_SHARED,
                      own_[0].fd(), static_cast<off_t>((first - first_) * memory::page_size));
    if (at == MAP_FAILED) return Error::from_errno(errno, "map fake pages", "mmap");
    mapped_ += count;
    if (mapped_ > most_) most_ = mapped_.load();
    ++maps_;
    return memory::MappedPages{static_cast<std::byte*>(at), count, first};
  }

  void unmap(const memory::MappedPages& pages) noexcept override {
    if (::munmap(pages.host, pages.count * memory::page_size) != 0) std::abort();
    mapped_ -= pages.count;
  }

 private:
  memory::PageKind kind_;
  std::uint64_t first_;
  std::vector<State> states_;
  std::vector<memory::Mapping> own_;
  std::atomic<std::uint32_t> mapped_{0};
  std::atomic<std::uint32_t> most_{0};
  std::atomic<unsigned> maps_{0};
};

}  // namespace trivet::test
