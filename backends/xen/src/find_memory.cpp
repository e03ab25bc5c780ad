// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "find_memory.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <sys/mman.h>

#include "populate.hpp"

namespace trivet::xen {
namespace {

constexpr auto operation = "look for a domain's memory";
constexpr std::uint64_t pages_of_piece = std::uint64_t{1} << large_order;
constexpr std::uint64_t pages_of_gib = std::uint64_t{1} << (30 - page_shift);
constexpr std::uint64_t first_high_page = std::uint64_t{1} << (32 - page_shift);

/// Which of the frames can be mapped. Mapping is the only question that a device model may ask of somebody else's page.
Result<std::vector<bool>> look(const Context& context, const std::vector<xen_pfn_t>& frames) {
  std::vector<int> errors(frames.size());
  void* const address = xenforeignmemory_map(context.foreign_memory(), context.domain, PROT_READ, frames.size(),
                                             frames.data(), errors.data());
  if (address == nullptr) {
    return Error::from_errno(errno, operation, "domain " + std::to_string(context.domain));
  }
  (void)xenforeignmemory_unmap(context.foreign_memory(), address, frames.size());
  std::vector<bool> there(frames.size());
  std::transform(errors.begin(), errors.end(), there.begin(), [](int error) { return error == 0; });
  return there;
}

class Finder {
 public:
  Finder(const Context& context, const GuestRange& within) noexcept
      : context_(context), next_(within.start.value >> page_shift), end_((within.last().value >> page_shift) + 1) {}

  Result<std::vector<GuestRange>> find() {
    while (next_ < end_) {
      const auto found_before = pages_;
      TRIVET_TRY(look_at_gib());
      if (next_ > first_high_page && pages_ == found_before) break;
    }
    return std::move(ranges_);
  }

 private:
  /// Up to the next multiple of 1 GiB.
  Result<void> look_at_gib() {
    const auto end = std::min(end_, (next_ / pages_of_gib + 1) * pages_of_gib);
    std::vector<xen_pfn_t> pieces;
    for (auto page = next_; page < end; page = (page / pages_of_piece + 1) * pages_of_piece) pieces.push_back(page);
    TRIVET_ASSIGN(const auto there, look(context_, pieces));
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (!there[i]) continue;
      TRIVET_TRY(look_at_piece(pieces[i], i + 1 < pieces.size() ? pieces[i + 1] : end));
    }
    next_ = end;
    return {};
  }

  Result<void> look_at_piece(xen_pfn_t first, xen_pfn_t end) {
    std::vector<xen_pfn_t> frames;
    for (auto page = first; page < end; ++page) frames.push_back(page);
    TRIVET_ASSIGN(const auto there, look(context_, frames));
    for (std::size_t i = 0; i < frames.size(); ++i) {
      if (there[i]) add(frames[i]);
    }
    return {};
  }

  void add(xen_pfn_t page) {
    ++pages_;
    const GuestAddress at{page << page_shift};
    if (!ranges_.empty() && ranges_.back().start.value + ranges_.back().size == at.value) {
      ranges_.back().size += page_size;
    } else {
      ranges_.push_back({at, page_size});
    }
  }

  const Context& context_;
  xen_pfn_t next_;
  const xen_pfn_t end_;
  std::uint64_t pages_ = 0;
  std::vector<GuestRange> ranges_;
};

}  // namespace

Result<std::vector<GuestRange>> find_memory(const Context& context, const GuestRange& within) {
  if (!within.valid()) return Error(Errc::invalid_argument, operation, "the range is empty or wraps");
  return Finder(context, within).find();
}

}  // namespace trivet::xen
