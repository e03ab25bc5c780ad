// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "block_request.hpp"

#include <algorithm>
#include <fmt/format.h>

#include <trivet/virtio/buffers.hpp>

namespace trivet::virtio {

namespace {

Error missing(const Chain& chain, std::string_view what) noexcept {
  std::array<char, 160> text{};
  const auto end =
      fmt::format_to_n(text.data(), text.size(), "queue {}, chain {}: a block request without {} (virtio 1.2, 5.2.6)",
                       chain.queue(), chain.id(), what);
  return Error::malformed("block request", {text.data(), std::min(end.size, text.size())});
}

}  // namespace

Result<BlockParts> BlockParts::parse(const Chain& chain) noexcept {
  TRIVET_ASSIGN(auto buffers, Buffers::create(chain));
  auto& [in, writer] = buffers;
  if (in.left() < sizeof(abi::BlockRequestHeader)) return missing(chain, "a whole header to read");
  if (writer.left() == 0) return missing(chain, "a status byte to write");

  TRIVET_ASSIGN(const auto header, in.read_object<abi::BlockRequestHeader>());
  const bool has_gap = writer.left() > 1;
  TRIVET_ASSIGN(auto out, writer.take(writer.left() - 1));
  std::array<memory::Slice, 1> status;
  TRIVET_TRY(writer.slices(1, status));
  return BlockParts{header.type.value(), header.sector.value(), in, out, status[0], has_gap};
}

BlockBigBuffers::BlockBigBuffers(std::size_t slices) : slices_(slices), slice_sets_(count), vector_sets_(count) {
  for (auto& set : slice_sets_) set.reserve(slices);
  for (auto& set : vector_sets_) set.reserve(slices);
}

int BlockBigBuffers::take() noexcept {
  const auto free = std::ranges::find(taken_, false);
  if (free == taken_.end()) return -1;
  *free = true;
  const auto which = static_cast<std::size_t>(free - taken_.begin());
  slice_sets_[which].resize(slices_);  // within what is reserved
  vector_sets_[which].resize(slices_);
  return static_cast<int>(which);
}

void BlockBigBuffers::give_back(int which) noexcept {
  taken_[static_cast<std::size_t>(which)] = false;
}

BlockBuffers BlockBigBuffers::buffers(int which) noexcept {
  return {slice_sets_[static_cast<std::size_t>(which)], vector_sets_[static_cast<std::size_t>(which)]};
}

}  // namespace trivet::virtio
