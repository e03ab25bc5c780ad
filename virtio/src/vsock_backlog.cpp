// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "vsock_backlog.hpp"

#include <algorithm>
#include <bit>

namespace trivet::virtio {

// Not cleared: pages that no byte lies in stay untouched.
VsockBacklog::VsockBacklog(std::uint32_t capacity, bool messages)
    : mask_(capacity - 1), bytes_(new std::byte[capacity]), marks_(messages ? capacity / 64 : 0) {}

Result<void> VsockBacklog::append(Reader& data, std::uint32_t bytes) noexcept {
  auto rest = data;
  const std::uint32_t first = std::min(bytes, mask_ + 1 - at(end_));
  TRIVET_TRY(rest.read({bytes_.get() + at(end_), first}));
  TRIVET_TRY(rest.read({bytes_.get(), bytes - first}));
  data = rest;
  end_ += bytes;
  return {};
}

void VsockBacklog::end_message() noexcept {
  if (size() == 0) return;
  const auto last = at(end_ - 1);
  marks_[last / 64] |= std::uint64_t{1} << last % 64;
}

std::uint32_t VsockBacklog::first_message() const noexcept {
  for (auto position = begin_; position < end_;) {
    const auto bit = at(position) % 64;
    const auto word = marks_[at(position) / 64] >> bit;
    if (word != 0) {
      const auto last = position + static_cast<std::uint64_t>(std::countr_zero(word));
      return last < end_ ? static_cast<std::uint32_t>(last + 1 - begin_) : 0;
    }
    position += 64 - bit;
  }
  return 0;
}

std::span<const iovec> VsockBacklog::front(std::array<iovec, 2>& runs) const noexcept {
  const auto bytes = marks_.empty() ? size() : first_message();
  const auto first = std::min(bytes, mask_ + 1 - at(begin_));
  runs[0] = {bytes_.get() + at(begin_), first};
  runs[1] = {bytes_.get(), bytes - first};
  return std::span(runs).first(bytes == 0 ? 0 : bytes == first ? 1 : 2);
}

void VsockBacklog::drop(std::uint32_t bytes) noexcept {
  if (!marks_.empty() && bytes != 0) {
    const auto last = at(begin_ + bytes - 1);
    marks_[last / 64] &= ~(std::uint64_t{1} << last % 64);
  }
  begin_ += bytes;
}

}  // namespace trivet::virtio
