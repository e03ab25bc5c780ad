// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <trivet/core/registers_x86_64.hpp>
#include <trivet/core/result.hpp>

namespace trivet::mshv {

/// The areas' formats by CPUID leaf 0xd of the virtual processor. Pure. Source: Intel SDM volume 1, 13.4.
class XsaveLayout {
 public:
  explicit XsaveLayout(std::span<const CpuidEntry> cpuid);

  /// Bytes of the standard format that has all components.
  [[nodiscard]] std::size_t standard_size() const noexcept { return standard_size_; }

  /// `malformed` for an area that is not compacted, or shorter than it says.
  Result<std::vector<std::uint8_t>> to_standard(std::span<const std::uint8_t> compacted) const;

  /// Into `compacted`, whose format (XCOMP_BV) is that of `states`. `unsupported` when the area holds a component that
  /// this host has not, `malformed` when it is too short.
  Result<void> to_compacted(std::span<const std::uint8_t> standard, std::uint64_t states,
                            std::span<std::uint8_t> compacted) const;

 private:
  struct Component {
    unsigned bit;
    std::size_t size, offset;  // offset: in the standard format
    bool aligned;              // in the compacted one, to 64 bytes
  };
  struct Place {
    Component component;
    std::size_t offset;
  };
  [[nodiscard]] std::vector<Place> places(std::uint64_t states) const;

  std::vector<Component> components_;  // by bit, beyond x87 and SSE
  std::size_t standard_size_;
};

}  // namespace trivet::mshv
