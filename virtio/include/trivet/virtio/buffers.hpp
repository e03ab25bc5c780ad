// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/result.hpp>
#include <trivet/virtio/chain.hpp>
#include <trivet/virtio/cursor.hpp>
#include <trivet/virtio/reader.hpp>
#include <trivet/virtio/writer.hpp>

namespace trivet::virtio {

/// Both sides of a chain: what `Reader::create` and `Writer::create` give, for one walk. Thread rule: a value.
struct Buffers {
 private:
  struct Nowhere {};

 public:
  Reader reader;
  Writer writer;

  /// `malformed` (guest) when the chain breaks a rule.
  [[gnu::always_inline]] static Result<Buffers> create(const Chain& chain) noexcept {
    // One object on every path, made where the caller wants it: it is large.
    Result<Buffers> buffers(tl::in_place, Nowhere());
    const Chain walk = Cursor::measure(chain, buffers->reader.cursor_, buffers->writer.cursor_);
    if (walk.is_broken()) [[unlikely]]
      refuse(buffers, walk.fault());
    return buffers;
  }

  explicit Buffers(Nowhere) noexcept {}  ///< for `create`, which gives them their place

 private:
  [[gnu::cold, gnu::noinline]] static void refuse(Result<Buffers>& buffers, const Fault& fault) noexcept {
    buffers = Result<Buffers>(fault.error());
  }
};

}  // namespace trivet::virtio
