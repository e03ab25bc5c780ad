// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstddef>
#include <cstdint>

#include <trivet/test/hostile_driver.hpp>
#include <trivet/virtio/rng.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A script whose size is odd plays on a limited device.
  const trivet::virtio::RateLimits limits{.bytes = {size % 2 == 0 ? 0U : 1U << 24, 1}};
  trivet::test::play_hostile_driver(std::as_bytes(std::span(data, size)), *trivet::virtio::Rng::create(limits));
  return 0;
}
