// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>
#include <limits>
#include <utility>

#include <trivet/memory/guest_memory.hpp>

namespace trivet::memory {
namespace {

constexpr const char* operation = "access guest memory";

template <class... Arguments>
Error refuse(Errc code, Blame blame, fmt::format_string<Arguments...> format, Arguments&&... arguments) noexcept {
  std::array<char, 160> text{};
  const auto end = fmt::format_to_n(text.data(), text.size(), format, std::forward<Arguments>(arguments)...);
  return {code, operation, {text.data(), std::min(end.size, text.size())}, blame};
}

}  // namespace

GuestMemory::GuestMemory(Regions regions) : regions_(std::move(regions)) {
  entries_.reserve(std::max<std::size_t>(regions_.size(), 1));
  for (const auto& region : regions_) {
    auto& entries = region->windows() != nullptr ? on_demand_ : entries_;
    entries.push_back({region->range().start.value, region->range().size, region->host(), region->dirty(), region.get(),
                       region->access() == Access::read_write});
  }
  if (entries_.empty()) entries_.emplace_back();
  entries_.resize(std::bit_ceil(entries_.size()), Entry(entries_.back()));
  for (const Entry& entry : entries_) starts_.push_back(entry.start);
  half_ = starts_.size() / 2;
  last_hit_.store(entries_.data(), std::memory_order_relaxed);
}

Result<std::shared_ptr<const GuestMemory>> GuestMemory::create(Regions regions) {
  if (std::find(regions.begin(), regions.end(), nullptr) != regions.end()) {
    return Error(Errc::invalid_argument, "make guest memory", "a region is null");
  }
  std::sort(regions.begin(), regions.end(),
            [](const auto& a, const auto& b) { return a->range().start < b->range().start; });
  const auto clash = std::adjacent_find(regions.begin(), regions.end(),
                                        [](const auto& a, const auto& b) { return a->range().overlaps(b->range()); });
  if (clash != regions.end()) {
    const GuestRange& first = (*clash)->range();
    const GuestRange& second = (*std::next(clash))->range();
    return Error(Errc::already_exists, "make guest memory",
                 fmt::format("{:#x} bytes at {:#x} overlap {:#x} bytes at {:#x}", first.size, first.start.value,
                             second.size, second.start.value));
  }
  return std::shared_ptr<const GuestMemory>(new GuestMemory(std::move(regions)));
}

std::shared_ptr<const GuestMemory> GuestMemory::empty() {
  return std::shared_ptr<const GuestMemory>(new GuestMemory({}));
}

const GuestMemory::Entry* GuestMemory::search(GuestAddress at) const noexcept {
  // Branchless halving: the guest picks the addresses, so no branch here would be predicted.
  const std::uint64_t* base = starts_.data();
  for (std::size_t half = half_; half != 0; half /= 2) {
    base = base[half] <= at.value ? base + half : base;
  }
  const Entry* entry = entries_.data() + (base - starts_.data());
  if (at.value - entry->start >= entry->size) return nullptr;
  last_hit_.store(entry, std::memory_order_relaxed);
  return entry;
}

std::optional<Error> GuestMemory::refusal(GuestAddress at, std::uint64_t size, Permission permission) const noexcept {
  if (size == 0) return std::nullopt;
  if (!GuestRange::create(at, size)) {
    return refuse(Errc::out_of_range, Blame::guest, "{:#x} bytes at {:#x} wrap", size, at.value);
  }
  for (std::uint64_t done = 0; done < size;) {
    const GuestAddress here{at.value + done};
    const Entry* entry = find_any(here);
    if (entry == nullptr) {
      return refuse(Errc::out_of_range, Blame::guest, "{:#x} bytes at {:#x}: {:#x} is no memory", size, at.value,
                    here.value);
    }
    if (permission == Permission::write && !entry->writable) {
      return refuse(Errc::permission, Blame::guest, "write of {:#x} bytes at {:#x}: {:#x} is read-only", size, at.value,
                    here.value);
    }
    done += std::min(size - done, entry->size - (here.value - entry->start));
  }
  return std::nullopt;
}

Error GuestMemory::misaligned(GuestAddress at, std::size_t size) noexcept {
  return refuse(Errc::invalid_argument, Blame::guest, "{:#x} is not aligned to {} bytes", at.value, size);
}

Error GuestMemory::scalar_refusal(GuestAddress at, std::size_t size, Permission permission) const noexcept {
  if (!at.is_aligned(size)) return misaligned(at, size);
  return *refusal(at, size, permission);
}

bool GuestMemory::contains(const GuestRange& range) const noexcept {
  return range.size != 0 && !refusal(range.start, range.size, Permission::read);
}

Result<void> GuestMemory::read(GuestAddress at, Bytes out) const noexcept {
  if (out.empty()) return {};
  if (const Entry* entry = find_whole(at, out.size(), Permission::read); entry != nullptr) {
    copy_out(out.data(), entry->host + (at.value - entry->start), out.size());
    return {};
  }
  if (auto error = refusal(at, out.size(), Permission::read)) return *error;
  if (has_on_demand()) return read_runs(at, out);
  while (!out.empty()) {
    const Entry* entry = find_entry(at);
    const std::uint64_t offset = at.value - entry->start;
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), entry->size - offset));
    copy_out(out.data(), entry->host + offset, bytes);
    out = out.subspan(bytes);
    at.value += bytes;
  }
  return {};
}

Result<void> GuestMemory::write(GuestAddress at, ConstBytes in) const noexcept {
  if (in.empty()) return {};
  if (auto error = refusal(at, in.size(), Permission::write)) return *error;
  if (has_on_demand() && find_whole(at, in.size(), Permission::write) == nullptr) return write_runs(at, in);
  while (!in.empty()) {
    const Entry* entry = find_entry(at);
    const std::uint64_t offset = at.value - entry->start;
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(in.size(), entry->size - offset));
    copy_in(entry->host + offset, in.data(), bytes);
    if (entry->dirty != nullptr) entry->dirty->mark(offset, bytes);
    in = in.subspan(bytes);
    at.value += bytes;
  }
  return {};
}

Result<void> GuestMemory::fill(const GuestRange& range, std::byte value) const noexcept {
  if (auto error = refusal(range.start, range.size, Permission::write)) return *error;
  if (has_on_demand() && find_whole(range.start, range.size, Permission::write) == nullptr) {
    return fill_runs(range, value);
  }
  for (std::uint64_t done = 0; done < range.size;) {
    TRIVET_ASSIGN(const Slice part, run({range.start.value + done}, range.size - done, Permission::write));
    part.fill(0, part.size(), value);
    done += part.size();
  }
  return {};
}

Result<Slice> GuestMemory::run(GuestAddress at, std::uint64_t limit, Permission permission) const noexcept {
  const Entry* entry = find_entry(at);
  if (entry == nullptr || limit == 0 || (permission == Permission::write && !entry->writable)) [[unlikely]] {
    if constexpr (maps_on_demand) {
      if (limit != 0) return map_run(at, limit, permission);
    }
    if (limit != 0) return *refusal(at, 1, permission);
    return refuse(Errc::out_of_range, Blame::guest, "no bytes at {:#x}", at.value);
  }
  const std::uint64_t offset = at.value - entry->start;
  return Slice(entry->host + offset, std::min(limit, entry->size - offset), entry->region);
}

Result<Slice> GuestMemory::slice(const GuestRange& range, Permission permission) const noexcept {
  if (const auto found = find(range, permission)) [[likely]]
    return *found;
  if (auto error = refusal(range.start, range.size, permission)) return *error;
  if (has_on_demand()) {
    if (const Entry* entry = find_on_demand(range.start); entry != nullptr && range.size != 0) {
      return map_whole(range, permission);
    }
  }
  return refuse(Errc::out_of_range, Blame::guest, "{:#x} bytes at {:#x} are not in one region", range.size,
                range.start.value);
}

Result<std::size_t> GuestMemory::slices(const GuestRange& range, Permission permission,
                                        std::span<Slice> out) const noexcept {
  if (auto error = refusal(range.start, range.size, permission)) return *error;
  std::size_t count = 0;
  for (std::uint64_t done = 0; done < range.size; ++count) {
    if (count == out.size()) {
      forget(out);
      return refuse(Errc::limit, Blame::caller, "{:#x} bytes at {:#x} are more than {} runs", range.size,
                    range.start.value, out.size());
    }
    auto part = run({range.start.value + done}, range.size - done, permission);
    if (!part) {
      forget(out.first(count));
      return part.error();
    }
    done += part->size();
    out[count] = std::move(*part);
  }
  return count;
}

}  // namespace trivet::memory
