// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>

#include <trivet/virtio/buffers.hpp>
#include <trivet/virtio/reader.hpp>

namespace trivet::virtio {

Result<Reader> Reader::create(const Chain& chain) noexcept {
  TRIVET_ASSIGN(const auto buffers, Buffers::create(chain));
  return buffers.reader;
}

Result<void> Reader::read_in_parts(Bytes out) noexcept {
  TRIVET_TRY(cursor_.require(out.size()));
  while (!out.empty()) {
    const auto here = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), cursor_.here()));
    if (here != 0 && cursor_.read_whole(out.first(here))) [[likely]] {
      out = out.subspan(here);
      continue;
    }
    auto slice = cursor_.run(out.size());
    if (!slice) return slice.error();
    const auto bytes = static_cast<std::size_t>(slice->size());
    slice->read(0, out.first(bytes));
    out = out.subspan(bytes);
  }
  return {};
}

Result<void> Reader::skip(std::uint64_t bytes) noexcept {
  return cursor_.skip(bytes);
}

Result<Reader> Reader::take(std::uint64_t bytes) noexcept {
  TRIVET_ASSIGN(const Cursor front, cursor_.take(bytes));
  return Reader(front);
}

Result<std::size_t> Reader::slices(std::uint64_t bytes, std::span<memory::Slice> out) noexcept {
  return cursor_.slices(bytes, out);
}

}  // namespace trivet::virtio
