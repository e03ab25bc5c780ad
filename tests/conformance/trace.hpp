// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The accesses that a guest made, and those that it should have made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "outcome.hpp"

namespace conformance {

enum class AccessKind : std::uint8_t { port_in, port_out, load, store };

struct Access {
  AccessKind kind = AccessKind::port_in;
  std::uint64_t at = 0;
  std::uint32_t size = 0;
  std::uint64_t value = 0;  ///< little-endian, zero above `size`
  bool posted = false;
};

/// An access that must come. `may_split`: in ascending pieces, as for one that is not naturally aligned.
struct Expected {
  Access access;
  bool may_split = false;
};

[[nodiscard]] Expected port_in(std::uint64_t port, std::uint32_t size, std::uint64_t value);
[[nodiscard]] Expected port_out(std::uint64_t port, std::uint32_t size, std::uint64_t value);
/// May split exactly when it is not naturally aligned.
[[nodiscard]] Expected load(std::uint64_t at, std::uint32_t size, std::uint64_t value);
[[nodiscard]] Expected store(std::uint64_t at, std::uint32_t size, std::uint64_t value);

[[nodiscard]] std::string to_string(const Access& access);

/// Passes when `seen` is exactly `wanted`, in order, nothing more and nothing less.
Outcome match_trace(const std::vector<Access>& seen, const std::vector<Expected>& wanted);

/// The little-endian value of `size` bytes of the test pattern from `offset`.
[[nodiscard]] std::uint64_t pattern(std::uint64_t offset, std::uint32_t size);

}  // namespace conformance
