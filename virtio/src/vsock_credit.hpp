// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

namespace trivet::virtio {

/// How much each end of a connection may still send (virtio 1.3, 5.10.6.3). Counts are modulo 2^32, and the guest's may
/// be anything.
class VsockCredit {
 public:
  /// `buffer`: bytes that we hold for the other end.
  explicit VsockCredit(std::uint32_t buffer) noexcept : buffer_(buffer) {}

  // What comes from the guest.

  /// A packet of so many bytes came; false when the guest had no room for it.
  [[nodiscard]] bool take(std::uint32_t bytes) noexcept {
    if (bytes > buffer_ - held()) return false;
    taken_ += bytes;
    return true;
  }
  /// So many of them have left our buffer.
  void forward(std::uint32_t bytes) noexcept { forwarded_ += bytes; }
  [[nodiscard]] std::uint32_t held() const noexcept { return taken_ - forwarded_; }
  [[nodiscard]] std::uint32_t buffer() const noexcept { return buffer_; }
  [[nodiscard]] std::uint32_t forwarded() const noexcept { return forwarded_; }
  /// A packet told the guest what `forwarded` is now.
  void told() noexcept { told_ = forwarded_; }
  /// The guest knows of much less room than there is, or of so little that it may be waiting.
  [[nodiscard]] bool must_tell() const noexcept {
    const std::uint32_t untold = forwarded_ - told_;
    return untold != 0 && (untold >= buffer_ / 4 || buffer_ - (taken_ - told_) < buffer_ / 4);
  }

  // What goes to the guest.

  void heard(std::uint32_t buffer, std::uint32_t forwarded) noexcept {
    guest_buffer_ = buffer;
    guest_forwarded_ = forwarded;
  }
  [[nodiscard]] std::uint32_t room() const noexcept {
    const std::uint32_t under_way = sent_ - guest_forwarded_;
    return under_way < guest_buffer_ ? guest_buffer_ - under_way : 0;
  }
  [[nodiscard]] std::uint32_t guest_buffer() const noexcept { return guest_buffer_; }
  void sent(std::uint32_t bytes) noexcept { sent_ += bytes; }

 private:
  std::uint32_t buffer_;
  std::uint32_t taken_ = 0;
  std::uint32_t forwarded_ = 0;
  std::uint32_t told_ = 0;
  std::uint32_t guest_buffer_ = 0;
  std::uint32_t guest_forwarded_ = 0;
  std::uint32_t sent_ = 0;
};

}  // namespace trivet::virtio
