// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "mapped_memory.hpp"

namespace trivet::vmm {

GuestRange MappedMemory::range_of(const pci::BarMemory& piece) const noexcept {
  return {{at_->value + piece.offset}, piece.size};
}

Result<void> MappedMemory::unmap() noexcept {
  while (mapped_ != 0) {
    TRIVET_TRY(vm_.unmap(range_of(pieces_[mapped_ - 1])));
    --mapped_;
  }
  at_.reset();
  return {};
}

Result<void> MappedMemory::move_to(std::optional<GuestAddress> at) {
  if (at == at_) return {};
  TRIVET_TRY(unmap());
  at_ = at;
  if (!at) return {};
  for (const auto& piece : pieces_) {
    if (const auto mapped = vm_.map({range_of(piece), HostMemory{piece.host}}); !mapped) {
      (void)unmap();
      return mapped.error();
    }
    ++mapped_;
  }
  return {};
}

}  // namespace trivet::vmm
