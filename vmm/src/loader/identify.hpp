// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <string_view>

#include <trivet/vmm/loader/image.hpp>

namespace trivet::vmm {

enum class ImageFormat : std::uint8_t { elf, bzimage, other };

struct ImageKind {
  ImageFormat format = ImageFormat::other;
  std::string_view advice;  ///< what it is instead, and what to do
};

/// Looks at an image's magic numbers. `io` (host).
Result<ImageKind> identify(const Image& image);

}  // namespace trivet::vmm
