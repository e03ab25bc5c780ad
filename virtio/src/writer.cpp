// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>

#include <trivet/virtio/buffers.hpp>
#include <trivet/virtio/writer.hpp>

namespace trivet::virtio {
Result<Writer> Writer::create(const Chain& chain) noexcept {
  TRIVET_ASSIGN(const auto buffers, Buffers::create(chain));
  return buffers.writer;
}

Result<void> Writer::write_in_parts(ConstBytes in) noexcept {
  TRIVET_TRY(cursor_.require(in.size()));
  while (!in.empty()) {
    const auto here = static_cast<std::size_t>(std::min<std::uint64_t>(in.size(), cursor_.here()));
    if (here != 0 && cursor_.write_whole(in.first(here))) [[likely]] {
      count(here);
      in = in.subspan(here);
      continue;
    }
    auto slice = cursor_.run(in.size());
    if (!slice) return slice.error();
    const auto bytes = static_cast<std::size_t>(slice->size());
    slice->write(0, in.first(bytes));
    count(bytes);
    in = in.subspan(bytes);
  }
  return {};
}

Result<void> Writer::fill(std::uint64_t bytes, std::byte value) noexcept {
  TRIVET_TRY(cursor_.require(bytes));
  while (bytes != 0) {
    auto slice = cursor_.run(bytes);
    if (!slice) return slice.error();
    slice->fill(0, slice->size(), value);
    count(slice->size());
    bytes -= slice->size();
  }
  return {};
}

Result<void> Writer::skip(std::uint64_t bytes) noexcept {
  return cursor_.skip(bytes);
}

Result<Writer> Writer::take(std::uint64_t bytes) noexcept {
  TRIVET_ASSIGN(const Cursor front, cursor_.take(bytes));
  return Writer(front);
}

Result<memory::Slice> Writer::take_last(std::uint32_t bytes) noexcept {
  TRIVET_TRY(cursor_.require(bytes));
  if (bytes <= last_length_) [[likely]] {
    const GuestRange range{{last_address_ + last_length_ - bytes}, bytes};
    const auto slice = cursor_.memory().find(range, memory::Permission::write);
    if (slice) [[likely]] {
      cursor_.drop_last(bytes);
      last_length_ -= bytes;
      return *slice;
    }
  }
  std::array<memory::Slice, 1> run;
  Writer tail = *this;
  TRIVET_TRY(tail.skip(left() - bytes));
  if (const auto runs = tail.slices(bytes, run); !runs) {
    if (runs.error().code() != Errc::limit) return runs.error();
    return Error::malformed("virtio chain", "bytes that belong together at the end lie in several buffers or regions");
  }
  TRIVET_ASSIGN(cursor_, cursor_.take(left() - bytes));
  last_length_ = 0;
  return std::move(run[0]);
}

Result<std::size_t> Writer::slices(std::uint64_t bytes, std::span<memory::Slice> out) noexcept {
  return cursor_.slices(bytes, out);
}

}  // namespace trivet::virtio
