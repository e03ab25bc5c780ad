// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <utility>

#include <trivet/virtio/cursor.hpp>

namespace trivet::virtio {
namespace {

constexpr const char* operation = "virtio chain";

/// Memory knows neither queue nor chain.
[[gnu::noinline, gnu::cold]] Error in_chain(const Error& error, const Chain& chain) noexcept {
  std::array<char, 48> text{};
  const auto end = fmt::format_to_n(text.data(), text.size(), "queue {}: chain {}", chain.queue(), chain.id());
  return error.within({text.data(), std::min(end.size, text.size())});
}

}  // namespace

bool Cursor::enter() noexcept {
  const bool writes = permission_ == memory::Permission::write;
  bool passed = !at_first_;
  if (at_first_) chain_ = Chain(*chain_.origin_, chain_.head_);
  at_first_ = false;
  Descriptor buffer;
  while (chain_.step(buffer) == Chain::Step::descriptor) {
    if (buffer.writable == writes && std::exchange(passed, true) && buffer.length != 0) {
      at_ = buffer.address.value;
      buffer_left_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(buffer.length, behind_));
      behind_ -= buffer_left_;
      return true;
    }
    if (buffer.writable && !writes) break;
  }
  if (chain_.rule_ == Rule::none) chain_.fail(Rule::changed, 0);
  return false;
}

Result<void> Cursor::require(std::uint64_t bytes) const noexcept {
  if (bytes <= left()) [[likely]]
    return {};
  std::array<char, 128> text{};
  const auto end =
      fmt::format_to_n(text.data(), text.size(), "queue {}: chain {}: {} bytes {} where {} are needed", chain_.queue(),
                       chain_.id(), left(), permission_ == memory::Permission::read ? "to read" : "of room", bytes);
  return Error::malformed(operation, {text.data(), std::min(end.size, text.size())});
}

Result<memory::Slice> Cursor::run(std::uint64_t limit) noexcept {
  if (left() == 0) [[unlikely]] {
    TRIVET_TRY(require(1));
  }
  if (buffer_left_ == 0 && !enter()) [[unlikely]]
    return chain_.fault().error();
  const std::uint64_t most = std::min(limit, std::uint64_t{buffer_left_});
  auto slice = chain_.memory().run({at_}, most, permission_);
  if (slice) [[likely]]
    pass(slice->size());
  else
    slice = in_chain(slice.error(), chain_);
  return slice;
}

Result<void> Cursor::skip(std::uint64_t bytes) noexcept {
  TRIVET_TRY(require(bytes));
  while (bytes != 0) {
    if (buffer_left_ == 0 && !enter()) [[unlikely]]
      return chain_.fault().error();
    const auto part = std::min<std::uint64_t>(bytes, buffer_left_);
    pass(part);
    bytes -= part;
  }
  return {};
}

Result<Cursor> Cursor::take(std::uint64_t bytes) noexcept {
  TRIVET_TRY(require(bytes));
  Cursor front = *this;
  front.buffer_left_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, buffer_left_));
  front.behind_ = bytes - front.buffer_left_;
  TRIVET_TRY(skip(bytes));
  return front;
}

Result<std::size_t> Cursor::slices(std::uint64_t bytes, std::span<memory::Slice> out) noexcept {
  TRIVET_TRY(require(bytes));
  Cursor walk = *this;
  std::size_t count = 0;
  for (; bytes != 0; ++count) {
    if (count == out.size()) {
      memory::forget(out);
      return Error(Errc::limit, operation, "more runs of memory than there is room for");
    }
    auto slice = walk.run(bytes);
    if (!slice) {
      memory::forget(out.first(count));
      return slice.error();
    }
    bytes -= slice->size();
    out[count] = std::move(*slice);
  }
  *this = walk;
  return count;
}

}  // namespace trivet::virtio
