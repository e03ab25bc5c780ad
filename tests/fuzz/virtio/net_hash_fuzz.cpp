// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "net_hash.hpp"

// A frame of the network's. The first byte: the types.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using trivet::virtio::NetHash;
  if (size < 1 + NetHash::key_size) return 0;
  const auto bytes = std::as_bytes(std::span(data, size));
  NetHash hash;
  hash.set(data[0] & 0x3fU, bytes.subspan(1, NetHash::key_size));
  const auto frame = bytes.subspan(1 + NetHash::key_size);
  const auto value = hash.of(frame.first(std::min(frame.size(), NetHash::looks_at)));
  if (value.report > 6 || (value.report == 0 && value.hash != 0)) std::abort();
  if (value.report != 0 && (data[0] >> (value.report - 1) & 1) == 0) std::abort();  // the driver's choice
  return 0;
}
