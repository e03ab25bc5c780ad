// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// GuestMemory where a region is mapped on demand: what every access comes to that found no host address.
#include <algorithm>
#include <array>
#include <fmt/format.h>

#include <trivet/memory/guest_memory.hpp>

#include "window_cache.hpp"

namespace trivet::memory {
namespace {

Error refuse(Errc code, const char* format, std::uint64_t size, std::uint64_t at) noexcept {
  std::array<char, 160> text{};
  const auto end = fmt::format_to_n(text.data(), text.size(), fmt::runtime(format), size, at);
  return {code, "access guest memory", {text.data(), std::min(end.size, text.size())}, Blame::guest};
}

}  // namespace

const GuestMemory::Entry* GuestMemory::find_on_demand(GuestAddress at) const noexcept {
  const auto found = std::find_if(on_demand_.begin(), on_demand_.end(),
                                  [&](const Entry& entry) { return at.value - entry.start < entry.size; });
  return found == on_demand_.end() ? nullptr : &*found;
}

Result<Slice> GuestMemory::map_run(GuestAddress at, std::uint64_t limit, Permission permission) const noexcept {
  if (auto error = refusal(at, 1, permission)) return *error;
  const Entry* entry = find_on_demand(at);
  const std::uint64_t offset = at.value - entry->start;
  const std::uint64_t in_page = offset % page_size;
  const std::uint64_t bytes = std::min({limit, entry->size - offset, WindowCache::longest * page_size - in_page});
  const auto pages = static_cast<std::uint32_t>((in_page + bytes + page_size - 1) / page_size);
  const auto held = entry->region->windows()->acquire(offset / page_size, pages, permission);
  if (!held) return held.error();
  return Slice(held->host + in_page, bytes, entry->region, WindowGuard(held->window));
}

Result<Slice> GuestMemory::map_scalar(GuestAddress at, std::size_t size, Permission permission) const noexcept {
  if (!at.is_aligned(size)) return misaligned(at, size);
  return map_run(at, size, permission);
}

Result<Slice> GuestMemory::map_whole(const GuestRange& range, Permission permission) const noexcept {
  auto slice = map_run(range.start, range.size, permission);
  if (slice && slice->size() != range.size) {
    const Entry* entry = find_on_demand(range.start);
    if (range.size > entry->size - (range.start.value - entry->start)) {
      return refuse(Errc::out_of_range, "{:#x} bytes at {:#x} are not in one region", range.size, range.start.value);
    }
    return refuse(Errc::limit, "{:#x} bytes at {:#x} are more than is mapped on demand in one run", range.size,
                  range.start.value);
  }
  return slice;
}

Result<void> GuestMemory::read_runs(GuestAddress at, Bytes out) const noexcept {
  while (!out.empty()) {
    const auto part = run(at, out.size(), Permission::read);
    if (!part) return part.error();
    const auto bytes = static_cast<std::size_t>(part->size());
    part->read(0, out.first(bytes));
    out = out.subspan(bytes);
    at.value += bytes;
  }
  return {};
}

template <class Change>
Result<void> GuestMemory::change_runs(const GuestRange& range, Change change) const noexcept {
  std::array<Slice, 5> parts;  // 4 MiB, wherever it starts
  TRIVET_ASSIGN(const auto count, slices(range, Permission::write, parts));
  std::uint64_t done = 0;
  for (const Slice& part : std::span(parts).first(count)) {
    change(part, static_cast<std::size_t>(done));
    done += part.size();
  }
  return {};
}

Result<void> GuestMemory::write_runs(GuestAddress at, ConstBytes in) const noexcept {
  return change_runs({at, in.size()}, [&](const Slice& part, std::size_t done) {
    part.write(0, in.subspan(done, static_cast<std::size_t>(part.size())));
  });
}

Result<void> GuestMemory::fill_runs(const GuestRange& range, std::byte value) const noexcept {
  return change_runs(range, [&](const Slice& part, std::size_t) { part.fill(0, part.size(), value); });
}

void GuestMemory::release_idle_windows() const noexcept {
  for (const Entry& entry : on_demand_) entry.region->windows()->release_idle();
}

void GuestMemory::drop_windows() const noexcept {
  for (const Entry& entry : on_demand_) entry.region->windows()->drop();
}

}  // namespace trivet::memory
