// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/core/address.hpp>
#include <trivet/core/doorbell.hpp>
#include <trivet/core/result.hpp>

namespace trivet {

/// Ranges whose writes need no answer and may be batched; a facet of Vm. They reach the IoHandler as Posted::yes
/// (memory; ports come as plain pio_write) before any later access of the same runner. Thread rule: any thread.
class PostedWrites {
 public:
  using Space = DoorbellSpec::Space;
  /// `limit` when the host has no room for more.
  virtual Result<void> add(Space space, const GuestRange& range) = 0;
  virtual Result<void> remove(Space space, const GuestRange& range) = 0;

 protected:
  ~PostedWrites() = default;
};

}  // namespace trivet
