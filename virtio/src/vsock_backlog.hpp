// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <sys/uio.h>
#include <vector>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/virtio/reader.hpp>

namespace trivet::virtio {

/// What the guest sent and the host has not taken yet: a ring of bytes, and for messages a mark at each one's last
/// byte, so that any number of them fits. Allocates when it is made, and never again.
class VsockBacklog {
 public:
  /// `capacity`: a power of two, at least 64.
  VsockBacklog(std::uint32_t capacity, bool messages);

  [[nodiscard]] std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(end_ - begin_); }

  /// Takes the next `bytes` of `data`, for which there must be room. Errors are the guest's, and nothing was taken.
  Result<void> append(Reader& data, std::uint32_t bytes) noexcept;
  /// What was appended last ends a message. Nothing where that was said already, or there is nothing.
  void end_message() noexcept;

  /// What can go out now, in one or two runs: all bytes, or one whole message. Empty when there is none.
  [[nodiscard]] std::span<const iovec> front(std::array<iovec, 2>& runs) const noexcept;
  void drop(std::uint32_t bytes) noexcept;

 private:
  [[nodiscard]] std::uint32_t at(std::uint64_t position) const noexcept {
    return static_cast<std::uint32_t>(position) & mask_;
  }
  /// Bytes up to the first mark, and with it; 0 when there is none.
  [[nodiscard]] std::uint32_t first_message() const noexcept;

  std::uint32_t mask_;
  std::unique_ptr<std::byte[]> bytes_;
  std::vector<std::uint64_t> marks_;  // a bit a byte; none where there are no messages
  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace trivet::virtio
