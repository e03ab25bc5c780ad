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
  std::unique_ptr<DeviceBench> bench;
  if (home == Home::vhost_user || home == Home::vhost_user_packed) {
    bench = std::make_unique<VhostUserBench>(std::move(device), track_dirty);
  } else if (home == Home::pci || home == Home::pci_packed_in_order) {
    bench = std::make_unique<PciBench>(std::move(device), nullptr, track_dirty);
  } else {
    bench = std::make_unique<MmioBench>(std::move(device), nullptr, track_dirty);
  }
  if (home == Home::mmio_packed || home == Home::vhost_user_packed) bench->unwanted = virtio::abi::f_in_order;
  if (home == Home::pci_packed_in_order) bench->unwanted = 0;
  return bench;
}

}  // namespace trivet::test
