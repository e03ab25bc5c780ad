// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include <trivet/test/hostile_driver.hpp>
#include <trivet/virtio/balloon.hpp>

// The first byte: what the device offers, and its home. The byte for the outside: what its owner asks of it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  trivet::virtio::BalloonOptions options;
  options.target_mib = data[0] & 1;
  options.deflate_on_oom = (data[0] & 2) != 0;
  options.free_page_reporting = (data[0] & 4) != 0;
  if ((data[0] & 8) != 0) {
    options.hints = [](const trivet::GuestRange& range) {
      if (!range.valid() || range.start.value % 4096 != 0 || range.size % 4096 != 0) std::abort();
      if (range.last().value >= 64 << 10) std::abort();  // all the memory there is
    };
  }
  auto balloon = trivet::virtio::Balloon::create(std::move(options));
  auto* device = balloon->get();
  const auto outside = [&](std::uint8_t what) {
    switch (what % 5) {
      case 0:
        (void)device->set_target(what);
        break;
      case 1:
        device->request_statistics();
        break;
      case 2:
        (void)device->start_hinting();
        break;
      case 3:
        device->finish_hinting();
        break;
      default:
        if (device->statistics().updates != 0 &&
            device->counts().released > device->counts().inflated + device->counts().reported) {
          std::abort();
        }
    }
  };
  const auto home = (data[0] & 16) != 0 ? trivet::test::Home::pci : trivet::test::Home::mmio;
  trivet::test::play_hostile_driver(std::as_bytes(std::span(data, size).subspan(1)), std::move(*balloon), outside,
                                    home);
  return 0;
}
