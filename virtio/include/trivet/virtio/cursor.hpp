// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/slice.hpp>
#include <trivet/virtio/chain.hpp>

namespace trivet::virtio {

/// A place in the readable or in the writable bytes of a chain: what Reader and Writer share.
///
/// `measure` walks the chain once, so that a broken one is refused before any work; a cursor walks it again as it goes
/// and checks again, for the guest may change its descriptors meanwhile: that is an error too (`malformed`, guest),
/// never an access that was not checked. Thread rule: a value.
class Cursor {
 public:
  /// Bytes of each direction.
  struct Sizes {
    std::uint64_t readable = 0;
    std::uint64_t writable = 0;
  };
  static Result<Sizes> measure(Chain chain) noexcept;

  /// Over the first `bytes` of that direction: at most what was measured.
  Cursor(const Chain& chain, memory::Permission permission, std::uint64_t bytes) noexcept
      : chain_(chain), left_(bytes), permission_(permission) {}

  [[nodiscard]] std::uint64_t left() const noexcept { return left_; }

  /// The next `bytes` (not 0) if they are one run, and goes on after them; else nothing, and no byte is passed: `run`
  /// knows why.
  std::optional<memory::Slice> whole_run(std::uint64_t bytes) noexcept {
    if (bytes > left_ || (buffer_left_ == 0 && bytes != 0 && !enter()) || bytes > buffer_left_) return std::nullopt;
    auto slice = chain_.memory().find({at_, bytes}, permission_);
    if (slice) [[likely]]
      pass(static_cast<std::uint32_t>(bytes));
    return slice;
  }

  /// The next run of bytes inside one buffer and one region, at most `limit` (not 0); goes on after it. `malformed`
  /// (guest) at the end.
  Result<memory::Slice> run(std::uint64_t limit) noexcept;
  Result<void> skip(std::uint64_t bytes) noexcept;
  /// A cursor over the next `bytes`; this one goes on after them.
  Result<Cursor> take(std::uint64_t bytes) noexcept;
  /// See Reader::slices.
  Result<std::size_t> slices(std::uint64_t bytes, std::span<memory::Slice> out) noexcept;

  /// `malformed` (guest) when fewer than `bytes` are left.
  [[nodiscard]] Result<void> require(std::uint64_t bytes) const noexcept;

 private:
  /// Goes to the next buffer that has bytes. False, and the chain is at fault, when there is none: then it is not the
  /// chain measured.
  bool enter() noexcept {
    Descriptor buffer;
    while (chain_.step(buffer) == Chain::Step::descriptor) {
      const bool wanted = buffer.writable == (permission_ == memory::Permission::write);
      if (wanted && buffer.length != 0) [[likely]] {
        at_ = buffer.address;
        buffer_left_ = buffer.length;
        return true;
      }
      if (!wanted && permission_ == memory::Permission::read) break;
    }
    if (chain_.rule_ == Chain::Rule::none) chain_.fail(Chain::Rule::changed, 0);
    return false;
  }

  void pass(std::uint32_t bytes) noexcept {
    at_.value += bytes;  // may wrap: then nothing is left of the buffer, or memory refuses it
    buffer_left_ -= bytes;
    left_ -= bytes;
  }

  Chain chain_;
  std::uint64_t left_;             // bytes of this cursor
  GuestAddress at_;                // in the buffer where it stands
  std::uint32_t buffer_left_ = 0;  // bytes of that buffer
  memory::Permission permission_;
};

}  // namespace trivet::virtio
