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
  auto parts = Buffers::create<BlockParts>(chain);  // filled where it is returned: it is large
  if (!parts) return parts;
  const auto refuse = [&parts](const Error& error) { parts = error; };
  if (parts->reader.left() < sizeof(abi::BlockRequestHeader)) {
    refuse(missing(chain, "a whole header to read"));
    return parts;
  }
  if (parts->writer.left() == 0) {
    refuse(missing(chain, "a status byte to write"));
    return parts;
  }
  const auto header = parts->reader.read_object<abi::BlockRequestHeader>();
  auto status = parts->writer.take_last(1);
  if (!header || !status) {
    refuse(header ? status.error() : header.error());
    return parts;
  }
  parts->type = header->type.value();
  parts->sector = header->sector.value();
  parts->has_gap = parts->writer.left() != 0;
  parts->status = std::move(*status);
  return parts;
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
