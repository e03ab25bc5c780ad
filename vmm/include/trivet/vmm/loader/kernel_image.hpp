// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>
#include <trivet/vmm/loader/bzimage.hpp>
#include <trivet/vmm/loader/elf.hpp>
#include <trivet/vmm/loader/image.hpp>

namespace trivet::vmm {

/// How a kernel is entered.
enum class BootProtocol : std::uint8_t {
  pvh,       ///< 32-bit flat, paging off, ebx = hvm_start_info
  linux_64,  ///< long mode over identity page tables, rsi = boot_params
};

[[nodiscard]] std::string_view to_string(BootProtocol protocol);

/// A kernel in guest memory.
struct LoadedKernel {
  GuestAddress entry;
  BootProtocol protocol = BootProtocol::pvh;
  GuestRange extent;  ///< all that it occupies before it has read the memory map
};

/// A kernel whose headers were read and found sound: an ELF64 (PVH or 64-bit entry) or a bzImage.
/// Thread rule: any thread, once made.
class KernelImage {
 public:
  /// Errors of `Image::open`, `parse_elf` and `parse_bzimage`; for anything else `malformed`, which names what the file
  /// is where that is known (compressed, an initial RAM disk, another processor's) and what to do.
  static Result<KernelImage> open(const std::string& path);

  /// `bytes` must outlive it.
  static Result<KernelImage> from_memory(ConstBytes bytes, std::string name);

  [[nodiscard]] const std::string& name() const noexcept { return image_.name(); }
  [[nodiscard]] const std::variant<ElfKernel, BzImage>& format() const noexcept { return format_; }

  /// What is used unless told otherwise: PVH where it can, else the 64-bit entry.
  [[nodiscard]] BootProtocol protocol() const noexcept;
  [[nodiscard]] bool supports(BootProtocol protocol) const noexcept;

  /// In characters, without the closing zero.
  [[nodiscard]] std::uint64_t command_line_limit() const noexcept;
  /// The highest address its initial RAM disk may occupy.
  [[nodiscard]] std::uint64_t initrd_last() const noexcept;

  /// Puts it into guest memory: a bzImage at `at`, an ELF where its headers say, which must not lie below `at`.
  /// `fresh`: the memory was never written and reads zero, so that zeroes need not be written.
  /// `out_of_range`: not all of it lies in RAM or it lies too low; `unsupported`: it has no such entry (caller);
  /// errors of `Image::place`. The guest's memory may then be half written.
  Result<LoadedKernel> load(const memory::GuestMemory& memory, GuestAddress at, BootProtocol protocol,
                            bool fresh) const;

 private:
  KernelImage(Image image, std::variant<ElfKernel, BzImage> format);
  static Result<KernelImage> create(Image image);
  Result<LoadedKernel> load_elf(const ElfKernel& kernel, const memory::GuestMemory& memory, GuestAddress at,
                                BootProtocol protocol, bool fresh) const;
  Result<LoadedKernel> load_bzimage(const BzImage& kernel, const memory::GuestMemory& memory, GuestAddress at) const;

  Image image_;
  std::variant<ElfKernel, BzImage> format_;
};

}  // namespace trivet::vmm
