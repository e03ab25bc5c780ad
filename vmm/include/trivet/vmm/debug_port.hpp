// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <algorithm>
#include <functional>

#include <trivet/vmm/bus.hpp>

namespace trivet::vmm {

/// The port to which firmware writes what it does, byte by byte, as QEMU and Bochs have it: firmware looks for it by
/// reading 0xe9. Attached at port 0x402. Thread rule: any thread, as long as `write` takes it.
/// Source: QEMU, hw/char/debugcon.c.
class DebugPort final : public BusDevice {
 public:
  static constexpr std::uint64_t size = 1;
  static constexpr std::byte present{0xe9};

  /// `taker` gets what the guest writes; it must not block.
  explicit DebugPort(std::function<void(ConstBytes)> taker) : taker_(std::move(taker)) {}

  void read(std::uint64_t, Bytes data) noexcept override { std::fill(data.begin(), data.end(), present); }
  void write(std::uint64_t, ConstBytes data) noexcept override { taker_(data.first(1)); }

 private:
  std::function<void(ConstBytes)> taker_;
};

}  // namespace trivet::vmm
