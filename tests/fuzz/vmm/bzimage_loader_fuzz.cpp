// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Any bytes as a bzImage, loaded at an address that the last eight bytes choose, with an initial RAM disk beside it.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include <trivet/vmm/loader/boot_x86_64.hpp>

namespace {

using namespace trivet;
using namespace trivet::vmm;

constexpr std::uint64_t ram = 8 * layout::mebibyte;

std::shared_ptr<const memory::GuestMemory> make_memory() {
  auto mapping = memory::Mapping::anonymous(ram);
  if (!mapping) std::abort();
  auto region = memory::Region::create({0}, std::move(*mapping));
  if (!region) std::abort();
  auto memory = memory::GuestMemory::create({*region});
  if (!memory) std::abort();
  return *memory;
}

void check(bool promise) {
  if (!promise) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto memory = make_memory();
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto image = Image::from_memory(bytes, "fuzz");
  const auto parsed = parse_bzimage(image);
  std::uint64_t at = 0;
  if (size >= sizeof(at)) std::memcpy(&at, data + size - sizeof(at), sizeof(at));
  if (parsed) {
    check(parsed->kernel_offset < size && parsed->kernel_size <= size - parsed->kernel_offset);
    check(parsed->kernel_size > 0x200);
    const auto extent = parsed->extent({at});
    check(extent.size == 0 || extent.valid());
  }

  auto kernel = KernelImage::from_memory(bytes, "fuzz");
  if (!kernel) return 0;
  PlatformInfo platform;
  platform.ram_bytes = ram;
  platform.apic_ids = {0};
  BootSource source{
      std::move(*kernel), Image::from_memory(bytes, "initrd"), CommandLine(), layout::kernel, std::nullopt, true};
  for (const GuestAddress load_at : {layout::kernel, GuestAddress{at}}) {
    source.load_address = load_at;
    const auto state = load_boot(source, *memory, platform);
    if (!state) continue;
    check(state->kernel.start >= layout::kernel && state->kernel.last().value < ram);
    check(state->initrd && !state->initrd->overlaps(state->kernel) && state->initrd->last().value < ram);
  }
  return 0;
}
