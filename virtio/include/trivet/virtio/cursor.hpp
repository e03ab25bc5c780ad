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
  /// Walks a whole chain, wherever it stands, and has two cursors stand at their first buffers. `last` is the writable
  /// one that ends the chain, or empty. The rule that the chain breaks, if any.
  static Fault measure(const Chain& chain, Cursor& readable, Cursor& writable, Descriptor& last) noexcept;

  Cursor() noexcept = default;  ///< nowhere, until `measure`

  [[nodiscard]] std::uint64_t left() const noexcept { return behind_ + buffer_left_; }
  [[nodiscard]] const memory::GuestMemory& memory() const noexcept { return chain_.memory(); }

  /// Moves the next bytes if they are one run, and goes on after them; else false, and no byte is passed or touched:
  /// `run` knows why.
  bool read_whole(Bytes out) noexcept {
    return stands_before(out.size()) && chain_.memory().read_whole({at_}, out) && pass(out.size());
  }
  /// Where those bytes may be read from, which are passed; null instead of false.
  const std::byte* pass_whole(std::uint64_t bytes) noexcept {
    const std::byte* from = stands_before(bytes) ? chain_.memory().find_host({at_}, bytes) : nullptr;
    if (from != nullptr) [[likely]]
      pass(bytes);
    return from;
  }
  bool write_whole(ConstBytes in) noexcept {
    return stands_before(in.size()) && chain_.memory().write_whole({at_}, in) && pass(in.size());
  }

  /// The next run of bytes inside one buffer and one region, at most `limit` (not 0); goes on after it. `malformed`
  /// (guest) at the end.
  Result<memory::Slice> run(std::uint64_t limit) noexcept;
  Result<void> skip(std::uint64_t bytes) noexcept;
  /// Bytes left in this buffer, or in the next if it stands at an end. 0: there is none, `run` knows why.
  [[nodiscard]] std::uint64_t here() noexcept {
    return buffer_left_ != 0 || (behind_ != 0 && enter()) ? buffer_left_ : 0;
  }
  /// Ends `bytes` earlier; there are so many left, and they lie in one buffer.
  void drop_last(std::uint32_t bytes) noexcept {
    if (behind_ == 0) {
      buffer_left_ -= bytes;
    } else {
      behind_ -= bytes;
    }
  }
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

  /// Stands at a first buffer, which may be empty.
  void stand(const Chain& chain, std::uint64_t at, std::uint32_t length, std::uint64_t behind,
             memory::Permission permission) noexcept {
    at_ = at;
    buffer_left_ = length;
    permission_ = permission;
    at_first_ = true;
    behind_ = behind;
    chain_.origin_ = chain.origin_;
    chain_.head_ = chain.head_;
  }

  /// Whether so many bytes are left in the buffer where it stands, or in the next if it stands at an end.
  [[nodiscard]] bool stands_before(std::uint64_t bytes) noexcept {
    if (bytes <= buffer_left_) [[likely]]
      return true;
    return buffer_left_ == 0 && behind_ != 0 && enter() && bytes <= buffer_left_;
  }

  bool pass(std::uint64_t bytes) noexcept {
    at_ += bytes;  // may wrap: then the buffer goes on at address 0, and every access is checked by itself
    buffer_left_ -= static_cast<std::uint32_t>(bytes);
    return true;
  }

  std::uint64_t at_;           // guest address, in the buffer where it stands
  std::uint32_t buffer_left_;  // bytes of that buffer and of this cursor
  memory::Permission permission_;
  bool at_first_;         // that buffer is the first one, and of chain_ there is only where it begins
  std::uint64_t behind_;  // bytes of this cursor behind that buffer
  Chain chain_;           // behind that buffer
};

[[gnu::always_inline]] inline Fault Cursor::measure(const Chain& chain, Cursor& readable, Cursor& writable,
                                                    Descriptor& last) noexcept {
  Chain walk(*chain.origin_, chain.head_);
  // A first buffer of each side, and what is behind it.
  Descriptor in;
  Descriptor out;
  std::uint64_t more_in = 0;
  std::uint64_t more_out = 0;
  auto step = walk.step<Chain::Expects::anything>(out);
  if (step == Chain::Step::descriptor && !out.writable) {
    in = out;
    for (;;) {
      step = walk.step<Chain::Expects::anything>(out);
      if (step != Chain::Step::descriptor || out.writable) break;
      more_in += out.length;
    }
  }
  if (step != Chain::Step::descriptor) out.length = 0;  // it is a readable one, or none
  last = out;
  if (step == Chain::Step::descriptor) {
    while (walk.step<Chain::Expects::writable>(last) == Chain::Step::descriptor) more_out += last.length;
  }
  readable.stand(chain, in.address.value, in.length, more_in, memory::Permission::read);
  writable.stand(chain, out.address.value, out.length, more_out, memory::Permission::write);
  return walk.is_broken() ? walk.fault() : Fault{};
}

}  // namespace trivet::virtio
