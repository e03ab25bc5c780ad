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
  Reader reader;
  Writer writer;

  /// `malformed` (guest) when the chain breaks a rule.
  static Result<Buffers> create(const Chain& chain) noexcept {
    const auto sizes = Cursor::measure(chain);
    if (!sizes) [[unlikely]]
      return sizes.error();
    return Buffers{Reader({chain, memory::Permission::read, sizes->readable}),
                   Writer({chain, memory::Permission::write, sizes->writable})};
  }
};

}  // namespace trivet::virtio
