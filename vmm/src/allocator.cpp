// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <bit>
#include <fmt/format.h>
#include <optional>

#include <boost/icl/interval_set.hpp>

#include <trivet/vmm/allocator.hpp>

namespace trivet::vmm {
namespace {

// Closed intervals: the last address of a 64-bit space has no successor.
using Interval = boost::icl::closed_interval<std::uint64_t>;
using Set = boost::icl::interval_set<std::uint64_t, std::less, Interval>;

std::optional<std::uint64_t> round_up(std::uint64_t value, std::uint64_t alignment) {
  const auto mask = alignment - 1;
  if (value > ~std::uint64_t{0} - mask) return std::nullopt;
  return (value + mask) & ~mask;
}

/// The lowest aligned start inside `hole` with room for `size`.
std::optional<std::uint64_t> lowest(const Interval& hole, std::uint64_t size, std::uint64_t alignment) {
  const auto start = round_up(hole.lower(), alignment);
  if (!start || *start > hole.upper() || hole.upper() - *start < size - 1) return std::nullopt;
  return start;
}

std::optional<std::uint64_t> highest(const Interval& hole, std::uint64_t size, std::uint64_t alignment) {
  if (hole.upper() - hole.lower() < size - 1) return std::nullopt;
  const auto start = (hole.upper() - (size - 1)) & ~(alignment - 1);
  if (start < hole.lower()) return std::nullopt;
  return start;
}

Interval interval(const GuestRange& range) {
  return {range.start.value, range.last().value};
}

}  // namespace

struct AddressAllocator::Impl {
  GuestRange range;
  Set free;
};

AddressAllocator::AddressAllocator(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
AddressAllocator::AddressAllocator(AddressAllocator&&) noexcept = default;
AddressAllocator& AddressAllocator::operator=(AddressAllocator&&) noexcept = default;
AddressAllocator::~AddressAllocator() = default;

Result<AddressAllocator> AddressAllocator::create(const GuestRange& range) {
  if (!range.valid()) return Error(Errc::invalid_argument, "make an address allocator", "the range is empty or wraps");
  auto impl = std::make_unique<Impl>();
  impl->range = range;
  impl->free.add(interval(range));
  return AddressAllocator(std::move(impl));
}

Result<GuestRange> AddressAllocator::allocate(std::uint64_t size, std::uint64_t alignment, Fit fit) {
  constexpr auto operation = "allocate addresses";
  if (size == 0) return Error(Errc::invalid_argument, operation, "no bytes were asked for");
  if (!std::has_single_bit(alignment)) {
    return Error(Errc::invalid_argument, operation, fmt::format("alignment {} is not a power of two", alignment));
  }
  std::optional<std::uint64_t> start;
  if (fit == Fit::first) {
    for (auto hole = impl_->free.begin(); hole != impl_->free.end() && !start; ++hole) {
      start = lowest(*hole, size, alignment);
    }
  } else {
    for (auto hole = impl_->free.rbegin(); hole != impl_->free.rend() && !start; ++hole) {
      start = highest(*hole, size, alignment);
    }
  }
  if (!start) {
    return Error(Errc::limit, operation,
                 fmt::format("no {:#x} bytes aligned to {:#x} are free in {:#x}-{:#x}", size, alignment,
                             impl_->range.start.value, impl_->range.last().value));
  }
  const GuestRange taken{GuestAddress{*start}, size};
  impl_->free.subtract(interval(taken));
  return taken;
}

Result<GuestRange> AddressAllocator::allocate_at(const GuestRange& wanted) {
  constexpr auto operation = "allocate addresses";
  if (!wanted.valid() || !impl_->range.contains(wanted.start, wanted.size)) {
    return Error(Errc::out_of_range, operation,
                 fmt::format("{:#x} bytes at {:#x} lie outside {:#x}-{:#x}", wanted.size, wanted.start.value,
                             impl_->range.start.value, impl_->range.last().value));
  }
  if (!boost::icl::contains(impl_->free, interval(wanted))) {
    return Error(Errc::already_exists, operation,
                 fmt::format("part of {:#x}-{:#x} is taken", wanted.start.value, wanted.last().value));
  }
  impl_->free.subtract(interval(wanted));
  return wanted;
}

Result<void> AddressAllocator::free(const GuestRange& range) {
  if (!range.valid() || !impl_->range.contains(range.start, range.size) ||
      boost::icl::intersects(impl_->free, interval(range))) {
    return Error(Errc::not_found, "free addresses",
                 fmt::format("{:#x} bytes at {:#x} were not taken", range.size, range.start.value));
  }
  impl_->free.add(interval(range));
  return {};
}

struct IdAllocator::Impl {
  std::uint32_t first;
  std::uint32_t last;
  Set free;
};

IdAllocator::IdAllocator(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
IdAllocator::IdAllocator(IdAllocator&&) noexcept = default;
IdAllocator& IdAllocator::operator=(IdAllocator&&) noexcept = default;
IdAllocator::~IdAllocator() = default;

Result<IdAllocator> IdAllocator::create(std::uint32_t first, std::uint32_t last) {
  if (last < first) return Error(Errc::invalid_argument, "make an id allocator", fmt::format("{} to {}", first, last));
  auto impl = std::make_unique<Impl>();
  impl->first = first;
  impl->last = last;
  impl->free.add(Interval(first, last));
  return IdAllocator(std::move(impl));
}

Result<std::uint32_t> IdAllocator::allocate() {
  if (impl_->free.empty()) {
    return Error(Errc::limit, "allocate an id", fmt::format("{} to {} are all taken", impl_->first, impl_->last));
  }
  const auto id = impl_->free.begin()->lower();
  impl_->free.subtract(id);
  return static_cast<std::uint32_t>(id);
}

Result<std::uint32_t> IdAllocator::allocate_id(std::uint32_t id) {
  if (id < impl_->first || id > impl_->last) {
    return Error(Errc::out_of_range, "allocate an id",
                 fmt::format("{} is not in {}-{}", id, impl_->first, impl_->last));
  }
  if (!boost::icl::contains(impl_->free, std::uint64_t{id})) {
    return Error(Errc::already_exists, "allocate an id", fmt::format("{} is taken", id));
  }
  impl_->free.subtract(std::uint64_t{id});
  return id;
}

Result<void> IdAllocator::free(std::uint32_t id) {
  if (id < impl_->first || id > impl_->last || boost::icl::contains(impl_->free, std::uint64_t{id})) {
    return Error(Errc::not_found, "free an id", fmt::format("{} was not taken", id));
  }
  impl_->free.add(std::uint64_t{id});
  return {};
}

}  // namespace trivet::vmm
