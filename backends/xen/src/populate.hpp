// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <vector>

#include <trivet/core/address.hpp>

namespace trivet::xen {

/// A range as Xen's extents: 2 MiB where it is aligned, pages before and after. Each list is of first frames, in order.
struct Extents {
  std::vector<std::uint64_t> before;  ///< pages
  std::vector<std::uint64_t> large;   ///< 2 MiB each
  std::vector<std::uint64_t> after;   ///< pages
};

inline constexpr unsigned large_order = 9;

/// `range` is page aligned. Pure.
[[nodiscard]] Extents extents_of(const GuestRange& range);

}  // namespace trivet::xen
