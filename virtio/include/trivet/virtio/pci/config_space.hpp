// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/virtio/pci/function.hpp>
#include <trivet/virtio/pci/registers.hpp>

namespace trivet::pci {

/// Who a function is.
struct Identity {
  std::uint16_t vendor = 0xffff;
  std::uint16_t device = 0xffff;
  std::uint32_t class_code = 0;  ///< 24 bits: class, subclass, interface
  std::uint8_t revision = 0;
  std::uint16_t subsystem_vendor = 0;
  std::uint16_t subsystem = 0;
};

/// The 256 bytes of a function's configuration space, with a mask of what the guest may write: type 0 header, BARs,
/// chain of capabilities. Thread rule: one thread at a time. Source: PCI 3.0, chapter 6.
class ConfigSpace {
 public:
  static constexpr std::size_t size = 256;

  explicit ConfigSpace(const Identity& identity) noexcept;

  /// \name For the function
  /// @{

  /// Little-endian; `offset + sizeof(T)` is at most `size`.
  template <std::unsigned_integral T>
  [[nodiscard]] T value(std::uint16_t offset) const noexcept {
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) all |= std::to_integer<std::uint64_t>(bytes_[offset + i]) << 8 * i;
    return static_cast<T>(all);
  }
  template <std::unsigned_integral T>
  void set(std::uint16_t offset, T value) noexcept {
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes_[offset + i] = static_cast<std::byte>(value >> 8 * i & 0xff);
  }
  /// The guest may write the bits of `mask`.
  template <std::unsigned_integral T>
  void allow(std::uint16_t offset, T mask) noexcept {
    for (std::size_t i = 0; i < sizeof(T); ++i) writable_[offset + i] |= static_cast<std::byte>(mask >> 8 * i & 0xff);
  }

  /// Adds a capability to the end of the chain; its offset. `body` is what follows its two header bytes. `limit` when
  /// there is no room (caller).
  Result<std::uint8_t> add_capability(std::uint8_t id, ConstBytes body);

  /// `invalid_argument` when the BAR cannot be (caller).
  Result<void> add_bar(unsigned index, const Bar& bar);
  [[nodiscard]] const std::array<Bar, bar_count>& bars() const noexcept { return bars_; }
  /// Where a BAR answers: nothing when there is none, or memory decoding is off.
  [[nodiscard]] std::optional<GuestAddress> bar_address(unsigned index) const noexcept;
  /// @}

  /// \name For the guest: any width, at any place
  /// @{
  void read(std::uint16_t offset, Bytes data) const noexcept;
  void write(std::uint16_t offset, ConstBytes data) noexcept;
  /// @}

 private:
  std::array<std::byte, size> bytes_{};
  std::array<std::byte, size> writable_{};
  std::array<Bar, bar_count> bars_{};
  std::uint16_t last_link_ = reg::capabilities;  // where the next capability's offset goes
  std::uint16_t next_capability_ = reg::first_capability;
};

}  // namespace trivet::pci
