// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "loader/identify.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace trivet::vmm {
namespace {

struct Magic {
  std::size_t offset;
  std::string_view bytes;
  ImageFormat format;
  std::string_view advice;
};

using namespace std::string_view_literals;

// In order: a bzImage is also a PE ("MZ") where it has an EFI stub, and so are arm64 and RISC-V images.
constexpr std::array magics{
    Magic{0,
          "\x7f"
          "ELF"sv,
          ImageFormat::elf,
          {}},
    Magic{0x202, "HdrS"sv, ImageFormat::bzimage, {}},
    Magic{0x38, "ARM\x64"sv, ImageFormat::other, "an arm64 Image; an x86-64 kernel is needed"},
    Magic{0x38, "RSC\x05"sv, ImageFormat::other, "a RISC-V Image; an x86-64 kernel is needed"},
    Magic{0, "\x1f\x8b"sv, ImageFormat::other, "compressed with gzip; unpack it (gunzip) or name the vmlinuz"},
    Magic{0,
          "\xfd"
          "7zXZ"sv,
          ImageFormat::other, "compressed with xz; unpack it (unxz) or name the vmlinuz"},
    Magic{0, "\x28\xb5\x2f\xfd"sv, ImageFormat::other, "compressed with zstd; unpack it (unzstd) or name the vmlinuz"},
    Magic{0, "BZh"sv, ImageFormat::other, "compressed with bzip2; unpack it (bunzip2) or name the vmlinuz"},
    Magic{0, "\x02\x21\x4c\x18"sv, ImageFormat::other, "compressed with lz4; unpack it (unlz4) or name the vmlinuz"},
    Magic{0, "\x04\x22\x4d\x18"sv, ImageFormat::other, "compressed with lz4; unpack it (unlz4) or name the vmlinuz"},
    Magic{0, "070701"sv, ImageFormat::other, "an initial RAM disk (cpio), not a kernel; give it as initrd="},
    Magic{0, "MZ"sv, ImageFormat::other,
          "an EFI program without a Linux setup header; name a vmlinuz or an ELF kernel"},
    Magic{0, "QFI\xfb"sv, ImageFormat::other, "a qcow2 disk image, not a kernel"},
    Magic{0, "#!"sv, ImageFormat::other, "a script, not a kernel"},
};
constexpr std::string_view unknown = "not a kernel: neither an ELF nor a bzImage (is it torn or empty at its start?)";
constexpr std::size_t greatest_extent = 0x206;

}  // namespace

Result<ImageKind> identify(const Image& image) {
  std::array<std::byte, greatest_extent> start{};
  const auto size = std::min<std::uint64_t>(start.size(), image.size());
  TRIVET_TRY(image.read(0, Bytes(start).first(static_cast<std::size_t>(size))));
  for (const auto& magic : magics) {
    const auto there = ConstBytes(start).subspan(magic.offset, magic.bytes.size());
    if (std::ranges::equal(there, std::as_bytes(std::span(magic.bytes)))) return ImageKind{magic.format, magic.advice};
  }
  return ImageKind{ImageFormat::other, unknown};
}

}  // namespace trivet::vmm
