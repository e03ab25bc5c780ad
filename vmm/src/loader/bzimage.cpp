// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <bit>
#include <fmt/format.h>
#include <limits>

#include <trivet/vmm/loader/bzimage.hpp>

#include "abi/linux_boot.hpp"

namespace trivet::vmm {
namespace {

constexpr auto operation = "load bzImage";
constexpr std::uint64_t sector = 512;
/// Up to and with init_size, the last field that is used; a header that ends earlier is torn.
constexpr std::uint64_t least_header_end = 0x264;
constexpr std::uint64_t header_start = 0x202;

Error refused(const Image& image, std::string_view why) {
  return Error::unsupported(operation, why).within(image.name());
}

/// The setup header, as long as it says it is.
Result<abi::SetupHeader> read_header(const Image& image) {
  abi::SetupHeader header{};
  const auto bytes = std::as_writable_bytes(std::span(&header, 1));
  const auto fixed = header_start + 6 - abi::setup_header_offset;  // up to and with the version
  TRIVET_TRY(image.read(abi::setup_header_offset, bytes.first(fixed)));
  if (header.boot_flag.value() != abi::setup_boot_flag || header.magic.value() != abi::setup_magic) {
    return image.malformed(operation, "no setup header (0xaa55, \"HdrS\")");
  }
  if (const auto version = header.version.value(); version < abi::setup_first_version_64) {
    return refused(image, fmt::format("boot protocol {}.{:02} has no 64-bit entry; 2.12 (Linux 3.8) or later is needed",
                                      version >> 8, version & 0xff));
  }
  const auto end = header_start + header.jump_length;
  if (end < least_header_end) {
    return image.malformed(operation, fmt::format("its setup header ends at {:#x}, before init_size", end));
  }
  const auto size = std::min<std::uint64_t>(end - abi::setup_header_offset, sizeof(header));
  TRIVET_TRY(image.read(abi::setup_header_offset, bytes.first(static_cast<std::size_t>(size))));
  return header;
}

Result<void> check_kind(const Image& image, const abi::SetupHeader& header) {
  if ((header.load_flags & abi::setup_loaded_high) == 0) return refused(image, "a zImage, which loads below 1 MiB");
  if ((header.extended_load_flags.value() & abi::setup_kernel_64) == 0) {
    return refused(image, "no 64-bit entry (XLF_KERNEL_64): a 32-bit kernel?");
  }
  const auto alignment = header.alignment.value();
  if (!std::has_single_bit(alignment)) {
    return image.malformed(operation, fmt::format("kernel alignment {:#x} is not a power of two", alignment));
  }
  if (header.command_line_size.value() == 0) return image.malformed(operation, "takes no command line");
  return {};
}

/// Where the protected-mode part lies in the file.
Result<void> find_kernel(const Image& image, const abi::SetupHeader& header, BzImage& kernel) {
  const std::uint64_t sectors = header.setup_sectors == 0 ? 4 : header.setup_sectors;
  kernel.kernel_offset = (sectors + 1) * sector;
  const auto said = std::uint64_t{header.size_16.value()} * 16;
  if (said == 0) return image.malformed(operation, "an empty kernel (syssize 0)");
  if (kernel.kernel_offset >= image.size()) {
    return image.malformed(operation, fmt::format("truncated: the kernel begins at offset {:#x}, the file has {} bytes",
                                                  kernel.kernel_offset, image.size()));
  }
  const auto there = image.size() - kernel.kernel_offset;
  if (said > there && said - there >= 16) {  // the size counts whole units of 16 bytes
    return image.malformed(operation, fmt::format("truncated: the kernel is {} bytes at offset {:#x}, the file has {}",
                                                  said, kernel.kernel_offset, image.size()));
  }
  kernel.kernel_size = std::min(said, there);
  if (kernel.kernel_size <= abi::setup_entry_64) return image.malformed(operation, "too small for its 64-bit entry");
  const auto payload_end = std::uint64_t{header.payload_offset.value()} + header.payload_size.value();
  if (payload_end > kernel.kernel_size) {
    return image.malformed(operation, fmt::format("its payload ends at {:#x}, beyond the kernel's {:#x} bytes",
                                                  payload_end, kernel.kernel_size));
  }
  if (header.needed_size.value() < kernel.kernel_size) {
    return image.malformed(operation, fmt::format("init_size {:#x} is less than the kernel's {:#x} bytes",
                                                  header.needed_size.value(), kernel.kernel_size));
  }
  return {};
}

}  // namespace

GuestRange BzImage::extent(GuestAddress at) const {
  // As the kernel's own startup code computes it (arch/x86/boot/compressed/head_64.S).
  auto runs_at = preferred_address;
  if (relocatable) {
    if (at.value > std::numeric_limits<std::uint64_t>::max() - (alignment - 1)) return {};
    runs_at = std::max(preferred_address, (at.value + alignment - 1) & ~(alignment - 1));
  }
  const auto loaded_end = at.plus(kernel_size);
  const auto run_end = GuestAddress{runs_at}.plus(needed_size);
  if (!loaded_end || !run_end) return {};
  const auto first = std::min(at.value, runs_at);
  return {{first}, std::max(loaded_end->value, run_end->value) - first};
}

Result<BzImage> parse_bzimage(const Image& image) {
  TRIVET_ASSIGN(const auto header, read_header(image));
  TRIVET_TRY(check_kind(image, header));
  BzImage kernel;
  TRIVET_TRY(find_kernel(image, header, kernel));
  kernel.version = header.version.value();
  kernel.relocatable = header.relocatable != 0;
  kernel.alignment = header.alignment.value();
  kernel.preferred_address = header.preferred_address.value();
  kernel.needed_size = header.needed_size.value();
  kernel.command_line_size = header.command_line_size.value();
  kernel.initrd_last = header.initrd_last.value();
  static_assert(sizeof(kernel.setup_header) == sizeof(header));
  std::ranges::copy(std::as_bytes(std::span(&header, 1)), kernel.setup_header.begin());
  return kernel;
}

}  // namespace trivet::vmm
