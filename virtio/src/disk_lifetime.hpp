// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <optional>
#include <string>

#include <trivet/core/unique_fd.hpp>
#include <trivet/virtio/block_backend.hpp>

namespace trivet::virtio {

/// What an eMMC tells of its wear in sysfs: the attributes life_time ("0x01 0x02") and pre_eol_info ("0x01") of its
/// device. Held open, so that a process confined later can still read them. Thread rule: one thread at a time.
class DiskLifetimeFiles {
 public:
  DiskLifetimeFiles() noexcept = default;
  /// `device`: the device's folder. Without both attributes it is not `valid`.
  explicit DiskLifetimeFiles(const std::string& device);
  /// Of a block device, or of the disk that a partition is on.
  static DiskLifetimeFiles of(unsigned major, unsigned minor);

  [[nodiscard]] bool valid() const noexcept { return life_time_.valid() && pre_eol_info_.valid(); }
  /// Nothing when the attributes say nothing that can be understood.
  [[nodiscard]] std::optional<DiskLifetime> read() const noexcept;

 private:
  UniqueFd life_time_, pre_eol_info_;
};

}  // namespace trivet::virtio
