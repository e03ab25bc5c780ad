// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <concepts>

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

  /// Both, or what is derived from them. `malformed` (guest) when the chain breaks a rule.
  template <std::derived_from<Buffers> T = Buffers>
  [[gnu::always_inline]] static Result<T> create(const Chain& chain) noexcept {
    // One object on every path, made where the caller wants it: it is large.
    Result<T> buffers(tl::in_place, Nowhere());
    auto& [reader, writer] = static_cast<Buffers&>(*buffers);
    Descriptor last;
    const Fault broken = Cursor::measure(chain, reader.cursor_, writer.cursor_, last);
    writer.last_address_ = last.address.value;
    writer.last_length_ = last.length;
    if (broken.rule != Rule::none) [[unlikely]]
      refuse(buffers, broken);
    return buffers;
  }

  explicit Buffers(Nowhere) noexcept {}  ///< for `create`, which gives them their place

 private:
  template <class T>
  [[gnu::cold, gnu::noinline]] static void refuse(Result<T>& buffers, const Fault& fault) noexcept {
    buffers = fault.error();
  }
};

}  // namespace trivet::virtio
