// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Reading ABI structs out of an image that nobody trusts.
#pragma once

#include <cstdint>
#include <span>

#include <trivet/memory/guest_memory.hpp>
#include <trivet/vmm/loader/image.hpp>

namespace trivet::vmm {

/// A copy of what lies at `offset`. Errors as `Image::read`.
template <memory::Plain T>
Result<T> read_object(const Image& image, std::uint64_t offset) {
  T object{};
  TRIVET_TRY(image.read(offset, std::as_writable_bytes(std::span(&object, 1))));
  return object;
}

}  // namespace trivet::vmm
