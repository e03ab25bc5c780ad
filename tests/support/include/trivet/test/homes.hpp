// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>

#include <trivet/test/home.hpp>
#include <trivet/test/mmio_bench.hpp>
#include <trivet/test/pci_bench.hpp>
#include <trivet/test/vhost_user_bench.hpp>

namespace trivet::test {

inline std::unique_ptr<DeviceBench> make_bench(Home home, std::unique_ptr<virtio::Device> device,
                                               bool track_dirty = false) {
  if (home == Home::vhost_user) return std::make_unique<VhostUserBench>(std::move(device), track_dirty);
  if (home == Home::pci) return std::make_unique<PciBench>(std::move(device), nullptr, track_dirty);
  return std::make_unique<MmioBench>(std::move(device), nullptr, track_dirty);
}

}  // namespace trivet::test
