// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstddef>
#include <cstdint>

#include <trivet/test/hostile_driver.hpp>

#include "../../unit/virtio/test_device.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  trivet::test::play_hostile_driver(std::as_bytes(std::span(data, size)), std::make_unique<trivet::test::EchoDevice>(),
                                    {}, trivet::test::Home::pci);
  return 0;
}
