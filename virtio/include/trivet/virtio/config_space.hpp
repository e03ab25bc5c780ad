// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include <trivet/core/bytes.hpp>

namespace trivet::virtio {

/// Copies what lies at `offset` of a configuration struct; zeros beyond its end (virtio 1.2, 2.5). Thread rule: none of
/// its own.
template <class T>
void copy_config(const T& config, std::uint32_t offset, Bytes out) noexcept {
  const auto bytes = std::as_bytes(std::span(&config, 1));
  std::fill(out.begin(), out.end(), std::byte{0});
  if (offset >= bytes.size()) return;
  const auto part = bytes.subspan(offset, std::min(out.size(), bytes.size() - offset));
  std::copy(part.begin(), part.end(), out.begin());
}

}  // namespace trivet::virtio
