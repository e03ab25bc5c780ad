// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Any bytes as an ELF kernel: parsed, and loaded by each protocol into a guest that is prepared to boot. What is sound
// must keep its promises.
#include <cstdint>
#include <cstdlib>
#include <span>

#include <trivet/vmm/loader/boot_x86_64.hpp>

namespace {

using namespace trivet;
using namespace trivet::vmm;

constexpr std::uint64_t ram = 4 * layout::mebibyte;

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

void check_kernel(const ElfKernel& kernel, std::uint64_t size) {
  check(!kernel.segments.empty());
  check(kernel.entry || kernel.pvh_entry);
  const ElfSegment* before = nullptr;
  for (const auto& segment : kernel.segments) {
    check(segment.range.valid());
    check(segment.file_size <= segment.range.size);
    check(segment.file_offset <= size && segment.file_size <= size - segment.file_offset);
    check(before == nullptr || before->range.last() < segment.range.start);
    before = &segment;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto memory = make_memory();
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto image = Image::from_memory(bytes, "fuzz");
  const auto parsed = parse_elf(image);
  if (parsed) check_kernel(*parsed, size);

  auto kernel = KernelImage::from_memory(bytes, "fuzz");
  if (!kernel) return 0;
  PlatformInfo platform;
  platform.ram_bytes = ram;
  platform.apic_ids = {0};
  BootSource source{std::move(*kernel), std::nullopt, CommandLine(), layout::kernel, std::nullopt, false};
  for (const auto protocol : {BootProtocol::pvh, BootProtocol::linux_64}) {
    source.protocol = protocol;
    const auto state = load_boot(source, *memory, platform);
    if (!state) continue;
    check(state->kernel.start >= layout::kernel && state->kernel.last().value < ram);
    check(state->entry >= state->kernel.start);
  }
  return 0;
}
