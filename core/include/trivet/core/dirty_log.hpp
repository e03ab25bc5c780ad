// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>

namespace trivet {

/// One bit a 4 KiB page, from the first page of a range; bit 0 of word 0 is the first.
using DirtyBitmap = std::vector<std::uint64_t>;

/// Which pages the guest wrote; a facet of Vm. Only for regions mapped with `log_dirty`. What this process writes
/// itself is not in it: GuestMemory's own bitmap has that. Thread rule: any thread, also while vCPUs run (a page
/// written meanwhile is in this or the next take, never lost).
class DirtyLog {
 public:
  /// Pages written since the last take of this region, and starts again. `range` is exactly one mapped region. Exact,
  /// but for a page that the guest touches first by reading it: KVM may name it once, because it makes it writable
  /// then. `not_found`: no such region; `bad_state`: not mapped with `log_dirty` (caller).
  virtual Result<DirtyBitmap> take(const GuestRange& range) = 0;

  /// This process wrote there: whoever else follows the guest's memory (a toolstack that migrates it) must see it too.
  /// Nothing to do where nobody else can (KVM, MSHV). Any region; quick enough for a device's write.
  virtual Result<void> mark(const GuestRange& range) noexcept {
    (void)range;
    return {};
  }

 protected:
  ~DirtyLog() = default;
};

}  // namespace trivet
