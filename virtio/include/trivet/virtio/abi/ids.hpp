// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

namespace trivet::virtio::abi {

/// Device types. Source: virtio 1.2, 5.
enum class DeviceId : std::uint32_t {
  none = 0,
  network = 1,
  block = 2,
  console = 3,
  entropy = 4,
  balloon = 5,
  scsi_host = 8,
  gpu = 16,
  clock = 17,
  input = 18,
  socket = 19,
  crypto = 20,
  iommu = 23,
  memory = 24,
  sound = 25,
  file_system = 26,
  persistent_memory = 27,
  video_encoder = 30,
  video_decoder = 31,
  scmi = 32,
  i2c = 34,
  watchdog = 35,
  can = 36,
  gpio = 41,
  spi = 45,
  media = 48,
};

}  // namespace trivet::virtio::abi
