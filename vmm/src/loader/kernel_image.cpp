// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cstring>
#include <fmt/format.h>

#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/loader/command_line.hpp>
#include <trivet/vmm/loader/kernel_image.hpp>

#include "abi/linux_boot.hpp"
#include "loader/identify.hpp"

namespace trivet::vmm {
namespace {

constexpr auto operation = "load kernel";

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

}  // namespace

std::string_view to_string(BootProtocol protocol) {
  return protocol == BootProtocol::pvh ? "PVH" : "Linux 64-bit boot";
}

KernelImage::KernelImage(Image image, std::variant<ElfKernel, BzImage> format)
    : image_(std::move(image)), format_(std::move(format)) {}

Result<KernelImage> KernelImage::open(const std::string& path) {
  TRIVET_ASSIGN(auto image, Image::open(path));
  return create(std::move(image));
}

Result<KernelImage> KernelImage::from_memory(ConstBytes bytes, std::string name) {
  return create(Image::from_memory(bytes, std::move(name)));
}

Result<KernelImage> KernelImage::create(Image image) {
  TRIVET_ASSIGN(const auto kind, identify(image));
  switch (kind.format) {
    case ImageFormat::elf: {
      TRIVET_ASSIGN(auto kernel, parse_elf(image));
      return KernelImage(std::move(image), std::move(kernel));
    }
    case ImageFormat::bzimage: {
      TRIVET_ASSIGN(const auto kernel, parse_bzimage(image));
      return KernelImage(std::move(image), kernel);
    }
    case ImageFormat::other:
      break;
  }
  return image.malformed(operation, kind.advice);
}

BootProtocol KernelImage::protocol() const noexcept {
  return supports(BootProtocol::pvh) ? BootProtocol::pvh : BootProtocol::linux_64;
}

bool KernelImage::supports(BootProtocol protocol) const noexcept {
  const auto* elf = std::get_if<ElfKernel>(&format_);
  if (elf == nullptr) return protocol == BootProtocol::linux_64;
  return protocol == BootProtocol::pvh ? elf->pvh_entry.has_value() : elf->entry.has_value();
}

std::uint64_t KernelImage::command_line_limit() const noexcept {
  const auto* kernel = std::get_if<BzImage>(&format_);
  // An ELF does not say; COMMAND_LINE_SIZE has been 2,048 on x86 since 2.6.
  return kernel != nullptr ? kernel->command_line_size : CommandLine::usual_limit;
}

std::uint64_t KernelImage::initrd_last() const noexcept {
  const auto* kernel = std::get_if<BzImage>(&format_);
  return kernel != nullptr ? kernel->initrd_last : layout::hole.start.value - 1;
}

Result<LoadedKernel> KernelImage::load(const memory::GuestMemory& memory, GuestAddress at, BootProtocol protocol,
                                       bool fresh) const {
  if (!supports(protocol)) {
    return Error::unsupported(operation, fmt::format("{}: has no entry for {}", name(), to_string(protocol)));
  }
  if (at < layout::kernel || !at.is_aligned(layout::page_size)) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("{}: himem_start {:#x} must be a multiple of 4 KiB from {:#x}", name(), at.value,
                             layout::kernel.value));
  }
  return std::visit(Overloaded{[&](const ElfKernel& kernel) { return load_elf(kernel, memory, at, protocol, fresh); },
                               [&](const BzImage& kernel) { return load_bzimage(kernel, memory, at); }},
                    format_);
}

Result<LoadedKernel> KernelImage::load_elf(const ElfKernel& kernel, const memory::GuestMemory& memory, GuestAddress at,
                                           BootProtocol protocol, bool fresh) const {
  if (kernel.extent().start < at) {
    return Error(Errc::out_of_range, operation,
                 fmt::format("{}: its segment at {:#x} lies below {:#x} (himem_start)", name(),
                             kernel.extent().start.value, at.value));
  }
  for (const auto& segment : kernel.segments) {
    if (memory.contains(segment.range)) continue;
    return Error(
        Errc::out_of_range, operation,
        fmt::format("{}: its segment of {:#x} bytes at {:#x} is not all in the guest's RAM; give it more memory",
                    name(), segment.range.size, segment.range.start.value));
  }
  for (const auto& segment : kernel.segments) {
    TRIVET_TRY(image_.place(memory, segment.range.start, segment.file_offset, segment.file_size));
    const auto zeroes = segment.range.size - segment.file_size;
    if (fresh || zeroes == 0) continue;
    TRIVET_TRY(memory.fill({{segment.range.start.value + segment.file_size}, zeroes}, std::byte{0}));
  }
  const auto entry = protocol == BootProtocol::pvh ? kernel.pvh_entry : kernel.entry;
  return LoadedKernel{*entry, protocol, kernel.extent()};
}

Result<LoadedKernel> KernelImage::load_bzimage(const BzImage& kernel, const memory::GuestMemory& memory,
                                               GuestAddress at) const {
  if (!kernel.relocatable && at != layout::kernel) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("{}: not relocatable, so himem_start must be {:#x}, not {:#x}", name(),
                             layout::kernel.value, at.value));
  }
  const auto extent = kernel.extent(at);
  if (!extent.valid() || extent.last() >= layout::high_ram || extent.start < layout::kernel ||
      !memory.contains(extent)) {
    return Error(Errc::out_of_range, operation,
                 fmt::format("{}: needs RAM from {:#x} for {} MiB; give the guest more memory", name(),
                             extent.start.value, (extent.size + layout::mebibyte - 1) / layout::mebibyte));
  }
  TRIVET_TRY(image_.place(memory, at, kernel.kernel_offset, kernel.kernel_size));
  return LoadedKernel{{at.value + abi::setup_entry_64}, BootProtocol::linux_64, extent};
}

}  // namespace trivet::vmm
