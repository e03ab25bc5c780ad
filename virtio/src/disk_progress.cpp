// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "disk_progress.hpp"

#include <algorithm>
#include <cstring>

namespace trivet::virtio {

std::uint64_t bytes_left(const DiskOperation& operation) noexcept {
  std::uint64_t bytes = 0;
  for (const auto& part : operation.data) bytes += part.iov_len;
  return bytes;
}

void advance(DiskOperation& operation, std::uint64_t bytes) noexcept {
  operation.offset += bytes;
  while (!operation.data.empty() && bytes >= operation.data.front().iov_len) {
    bytes -= operation.data.front().iov_len;
    operation.data = operation.data.subspan(1);
  }
  if (operation.data.empty()) return;
  auto& part = operation.data.front();
  part.iov_base = static_cast<std::byte*>(part.iov_base) + bytes;
  part.iov_len -= bytes;
}

void copy_from(const DiskOperation& operation, Bytes out) noexcept {
  for (const auto& part : operation.data) {
    const auto bytes = std::min(part.iov_len, out.size());
    std::memcpy(out.data(), part.iov_base, bytes);
    out = out.subspan(bytes);
    if (out.empty()) return;
  }
}

void copy_to(const DiskOperation& operation, ConstBytes in) noexcept {
  for (const auto& part : operation.data) {
    const auto bytes = std::min(part.iov_len, in.size());
    std::memcpy(part.iov_base, in.data(), bytes);
    in = in.subspan(bytes);
    if (in.empty()) return;
  }
}

}  // namespace trivet::virtio
