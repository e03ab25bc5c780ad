// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>

#include <trivet/core/result.hpp>

#include "domctl.hpp"

namespace trivet::xen {

/// The process that made a domain. Both parts, because numbers of processes come again.
struct Owner {
  std::uint32_t process = 0;
  std::uint32_t start = 0;  ///< clock ticks since the host's boot, the low 32 bits

  friend bool operator==(const Owner&, const Owner&) = default;
};

/// A handle that says "Trivet", and whose the domain is: 54726976-6574-0001-..., as xl shows it.
[[nodiscard]] DomainHandle handle_of(const Owner& owner) noexcept;
/// Nothing for a domain that Trivet did not make.
[[nodiscard]] std::optional<Owner> owner_of(const DomainHandle& handle) noexcept;

/// This process. Source: proc(5), /proc/[pid]/stat.
Result<Owner> this_process();
[[nodiscard]] bool alive(const Owner& owner);

/// Destroys every domain of ours whose maker is gone. How many.
Result<unsigned> reap(const Domctl& domctl);

}  // namespace trivet::xen
