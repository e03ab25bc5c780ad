// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What the balloon's queues carry.
#include <algorithm>
#include <fmt/format.h>

#include <trivet/memory/discard.hpp>
#include <trivet/virtio/balloon.hpp>
#include <trivet/virtio/buffers.hpp>

namespace trivet::virtio {

namespace {

/// Batches of page numbers that one call of `process` takes at most: 16 MiB of guest memory.
constexpr unsigned most_batches = 16;
/// Statistics in one buffer: more than there are tags.
constexpr unsigned most_statistics = 64;

constexpr std::uint64_t page = abi::balloon_page_size;

/// The whole pages in what a driver named.
GuestRange whole_pages(const Descriptor& buffer) noexcept {
  const auto skip = (page - buffer.address.value % page) % page;
  if (buffer.length < skip || buffer.address.value > ~std::uint64_t{0} - skip) return {};
  return {{buffer.address.value + skip}, (buffer.length - skip) / page * page};
}

std::optional<std::uint64_t>* statistic(BalloonStatistics& all, std::uint16_t tag) noexcept {
  switch (tag) {
    case abi::balloon_s_swap_in:
      return &all.swap_in;
    case abi::balloon_s_swap_out:
      return &all.swap_out;
    case abi::balloon_s_major_faults:
      return &all.major_faults;
    case abi::balloon_s_minor_faults:
      return &all.minor_faults;
    case abi::balloon_s_free_memory:
      return &all.free_memory;
    case abi::balloon_s_total_memory:
      return &all.total_memory;
    case abi::balloon_s_available:
      return &all.available;
    case abi::balloon_s_caches:
      return &all.caches;
    case abi::balloon_s_hugetlb_allocations:
      return &all.hugetlb_allocations;
    case abi::balloon_s_hugetlb_failures:
      return &all.hugetlb_failures;
    case abi::balloon_s_oom_kills:
      return &all.oom_kills;
    case abi::balloon_s_allocation_stalls:
      return &all.allocation_stalls;
    case abi::balloon_s_async_scans:
      return &all.async_scans;
    case abi::balloon_s_direct_scans:
      return &all.direct_scans;
    case abi::balloon_s_async_reclaims:
      return &all.async_reclaims;
    case abi::balloon_s_direct_reclaims:
      return &all.direct_reclaims;
    default:
      return nullptr;  // a tag of a later version
  }
}

}  // namespace

// --- inflate and deflate: lists of page numbers ---

Result<More> Balloon::take_pages(Served& served) {
  auto& queue = *served.queue;
  queue.disable_kicks();
  for (unsigned batches = 0; batches < most_batches; ++batches) {
    if (!served.list) {
      TRIVET_ASSIGN(const auto chain, queue.pop());
      if (!chain) {
        if (queue.enable_kicks()) continue;
        return More::no;
      }
      TRIVET_ASSIGN(const auto reader, Reader::create(*chain));
      if (reader.left() % sizeof(abi::le32) != 0) {
        return Error::malformed(
            "balloon", fmt::format("queue {}: {} bytes are no list of page numbers (virtio 1.3, 5.5.6)", queue.index(),
                                   reader.left()));
      }
      served.list = List{chain->id(), reader};
    }
    auto& rest = served.list->rest;
    TRIVET_TRY(take_batch(*queue.memory(), rest, served.role == abi::balloon_inflate_queue));
    if (rest.left() == 0) {
      const auto chain = std::exchange(served.list, std::nullopt)->chain;
      TRIVET_TRY(queue.push_used(chain, 0));
    }
  }
  return More::yes;
}

Result<std::size_t> Balloon::take_batch(const memory::GuestMemory& memory, Reader& list, bool inflate) {
  std::array<abi::le32, batch_size> raw;
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(list.left() / sizeof(abi::le32), raw.size()));
  TRIVET_TRY(list.read(std::as_writable_bytes(std::span(raw).first(count))));
  counts_[inflate ? inflated : deflated] += count;
  if (!inflate) return count;  // a page that the guest touches again comes by itself
  std::array<std::uint32_t, batch_size> pages;
  for (std::size_t i = 0; i < count; ++i) pages[i] = raw[i].value();
  std::sort(pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(count));
  release_batch(memory, std::span(pages).first(count));
  return count;
}

/// Sorted: neighbours go in one call.
void Balloon::release_batch(const memory::GuestMemory& memory, std::span<std::uint32_t> pages) noexcept {
  for (std::size_t first = 0; first < pages.size();) {
    std::size_t last = first;  // a page named twice is no gap
    while (last + 1 < pages.size() && pages[last + 1] - pages[last] <= 1) ++last;
    const GuestRange run{{pages[first] * page}, (std::uint64_t{pages[last]} - pages[first] + 1) * page};
    if (!release(memory, run)) {
      // Some of it is no memory: each for itself.
      for (auto number = std::uint64_t{pages[first]}; number <= pages[last]; ++number) {
        if (!release(memory, {{number * page}, page})) ++counts_[ignored];
      }
    }
    first = last + 1;
  }
}

bool Balloon::release(const memory::GuestMemory& memory, const GuestRange& range) noexcept {
  const auto given = memory::discard(memory, range);
  if (given) {
    counts_[released] += *given / page;
    return true;
  }
  if (given.error().blame() == Blame::guest) return false;
  activation_.notifier->host_error(given.error());
  return true;
}

// --- statistics ---

Result<More> Balloon::take_statistics(Queue& queue) {
  for (unsigned budget = queue.size(); budget > 0; --budget) {
    TRIVET_ASSIGN(const auto chain, queue.pop());
    if (!chain) {
      if (queue.enable_kicks()) continue;
      break;
    }
    // There is one buffer by the rules; of two the older goes back.
    if (statistics_chain_) TRIVET_TRY(queue.push_used(*statistics_chain_, 0));
    statistics_chain_ = chain->id();
    TRIVET_TRY(read_statistics(*chain));
  }
  if (statistics_chain_ && statistics_wanted_.exchange(false)) {
    TRIVET_TRY(queue.push_used(*std::exchange(statistics_chain_, std::nullopt), 0));
  }
  return More::no;
}

Result<void> Balloon::read_statistics(const Chain& chain) {
  TRIVET_ASSIGN(auto reader, Reader::create(chain));
  BalloonStatistics said;
  for (unsigned i = 0; i < most_statistics && reader.left() >= sizeof(abi::BalloonStat); ++i) {
    TRIVET_ASSIGN(const auto stat, reader.read_object<abi::BalloonStat>());
    if (auto* const member = statistic(said, stat.tag.value()); member != nullptr) *member = stat.val.value();
  }
  const std::lock_guard lock(mutex_);
  said.updates = statistics_.updates + 1;
  statistics_ = said;
  return {};
}

// --- free pages: the buffers themselves ---

Result<More> Balloon::take_free_pages(Served& served) {
  auto& queue = *served.queue;
  queue.disable_kicks();
  for (unsigned budget = queue.size(); budget > 0; --budget) {
    TRIVET_ASSIGN(const auto chain, queue.pop());
    if (!chain) {
      if (queue.enable_kicks()) continue;
      return More::no;
    }
    TRIVET_TRY(Buffers::create(*chain));  // a broken one is refused before any page of it goes
    TRIVET_TRY(served.role == abi::balloon_hint_queue ? take_hint(*chain) : take_report(*chain));
    TRIVET_TRY(queue.push_used(chain->id(), 0));
  }
  return More::yes;
}

Result<void> Balloon::take_report(Chain chain) {
  const bool poisoned = negotiated(abi::balloon_f_page_poison) && poison_ != 0;
  for (;;) {
    TRIVET_ASSIGN(const auto buffer, chain.next());
    if (!buffer) return {};
    const auto range = whole_pages(*buffer);
    if (!buffer->writable || range.size == 0) continue;
    counts_[reported] += range.size / page;
    if (!poisoned && !release(chain.memory(), range)) counts_[ignored] += range.size / page;
  }
}

Result<void> Balloon::take_hint(Chain chain) {
  TRIVET_ASSIGN(auto command, Reader::create(chain));
  if (command.left() >= sizeof(abi::le32)) {
    TRIVET_ASSIGN(const auto id, command.read_object<abi::le32>());
    const bool stops = id.value() == abi::balloon_hint_stop;
    if (stops && hinting_ != abi::balloon_hint_stop && hinting_ == hint_command_) hinting_ended_ = true;
    hinting_ = id.value();
  }
  // What belongs to a run that was ended or followed by another says nothing any more.
  const bool current = hinting_ >= abi::balloon_hint_first && hinting_ == hint_command_;
  for (;;) {
    TRIVET_ASSIGN(const auto buffer, chain.next());
    if (!buffer) return {};
    const auto range = whole_pages(*buffer);
    if (!buffer->writable || range.size == 0 || !current) continue;
    if (!chain.memory().contains(range)) {
      counts_[ignored] += range.size / page;
      continue;
    }
    counts_[hinted] += range.size / page;
    if (options_.hints) options_.hints(range);
  }
}

}  // namespace trivet::virtio
