// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "populate.hpp"

#include <algorithm>

#include "abi.hpp"

namespace trivet::xen {

Extents extents_of(const GuestRange& range) {
  constexpr std::uint64_t large = std::uint64_t{1} << large_order;
  const std::uint64_t first = range.start.value >> page_shift;
  const std::uint64_t end = first + (range.size >> page_shift);
  const std::uint64_t large_first = std::min((first + large - 1) / large * large, end);
  const std::uint64_t large_end = std::max(end / large * large, large_first);
  Extents extents;
  for (auto frame = first; frame < large_first; ++frame) extents.before.push_back(frame);
  for (auto frame = large_first; frame < large_end; frame += large) extents.large.push_back(frame);
  for (auto frame = large_end; frame < end; ++frame) extents.after.push_back(frame);
  return extents;
}

}  // namespace trivet::xen
