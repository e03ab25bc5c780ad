// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <trivet/core/address.hpp>
#include <trivet/core/bytes.hpp>
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
  /// Walks a whole chain, wherever it stands, and has two cursors stand at their first buffers. Gives the walk, which
  /// is at fault when the chain breaks a rule.
  static Chain measure(const Chain& chain, Cursor& readable, Cursor& writable) noexcept;

  Cursor() noexcept = default;  ///< nowhere, until `measure`

  [[nodiscard]] std::uint64_t left() const noexcept { return behind_ + buffer_left_; }

  /// Moves the next bytes if they are one run, and goes on after them; else false, and no byte is passed or touched:
  /// `run` knows why.
  bool read_whole(Bytes out) noexcept {
    return stands_before(out.size()) && chain_.memory().read_whole(at_, out) && pass(out.size());
  }
  bool write_whole(ConstBytes in) noexcept {
    return stands_before(in.size()) && chain_.memory().write_whole(at_, in) && pass(in.size());
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
  [[gnu::noinline]] bool enter() noexcept;

  /// The bytes of one direction, while `measure` counts them.
  struct Side {
    GuestAddress first;
    std::uint32_t first_length = 0;
    std::uint64_t bytes = 0;

    void count(const Descriptor& buffer) noexcept {
      if (bytes == 0) {
        first = buffer.address;
        first_length = buffer.length;
      }
      bytes += buffer.length;
    }
  };

  void stand(const Chain::Origin& origin, const Side& side, memory::Permission permission) noexcept {
    at_ = side.first;
    buffer_left_ = side.first_length;
    permission_ = permission;
    at_first_ = true;
    behind_ = side.bytes - side.first_length;
    chain_.origin_ = origin;
  }

  /// Whether so many bytes are left in the buffer where it stands, or in the next if it stands at an end.
  [[nodiscard]] bool stands_before(std::uint64_t bytes) noexcept {
    if (bytes <= buffer_left_) [[likely]]
      return true;
    return buffer_left_ == 0 && behind_ != 0 && enter() && bytes <= buffer_left_;
  }

  bool pass(std::uint64_t bytes) noexcept {
    at_.value += bytes;  // may wrap: then nothing is left of the buffer, or memory refuses it
    buffer_left_ -= static_cast<std::uint32_t>(bytes);
    return true;
  }

  GuestAddress at_;            // in the buffer where it stands
  std::uint32_t buffer_left_;  // bytes of that buffer and of this cursor
  memory::Permission permission_;
  bool at_first_;         // that buffer is the first one, and of chain_ there is only the origin
  std::uint64_t behind_;  // bytes of this cursor behind that buffer
  Chain chain_;           // behind that buffer
};

[[gnu::always_inline]] inline Chain Cursor::measure(const Chain& chain, Cursor& readable, Cursor& writable) noexcept {
  Chain walk(chain.origin_);
  Side in;
  Side out;
  Descriptor buffer;
  while (walk.step(buffer) == Chain::Step::descriptor) {
    if (buffer.writable) {
      out.count(buffer);
    } else {
      in.count(buffer);
    }
  }
  readable.stand(chain.origin_, in, memory::Permission::read);
  writable.stand(chain.origin_, out, memory::Permission::write);
  return walk;
}

}  // namespace trivet::virtio
