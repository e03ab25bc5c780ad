// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>

#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/loader/initrd.hpp>

namespace trivet::vmm {
namespace {

constexpr auto operation = "load initial RAM disk";

}  // namespace

Result<GuestRange> initrd_range(std::uint64_t size, const GuestRange& ram, const GuestRange& kernel,
                                std::uint64_t last) {
  if (size == 0 || !ram.valid() || !kernel.valid()) {
    return Error(Errc::invalid_argument, operation, "an empty disk, RAM or kernel");
  }
  const auto highest = std::min(ram.last().value, last);
  const auto floor = std::max(kernel.last().value, layout::upper_ram.value - 1);
  const auto room = highest > floor ? highest - floor : 0;
  // `end` is exclusive; ram.last() < 4 GiB, so it cannot wrap.
  const auto end = highest + 1;
  const auto start = size <= room ? (end - size) / layout::page_size * layout::page_size : 0;
  if (start <= floor) {
    return Error(Errc::out_of_range, operation,
                 fmt::format("{} bytes do not fit between the kernel's end {:#x} and {:#x}; give the guest more memory",
                             size, floor + 1, end));
  }
  return GuestRange{{start}, size};
}

Result<GuestRange> load_initrd(const Image& image, const memory::GuestMemory& memory, const GuestRange& ram,
                               const GuestRange& kernel, std::uint64_t last) {
  auto range = initrd_range(image.size(), ram, kernel, last);
  if (!range) return range.error().within(image.name());
  TRIVET_TRY(image.place(memory, range->start, 0, image.size()));
  return range;
}

}  // namespace trivet::vmm
