// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <fmt/format.h>

#include <trivet/memory/access.hpp>
#include <trivet/virtio/shared_memory.hpp>

namespace trivet::virtio {
namespace {

constexpr std::uint64_t page = 4096;
/// All regions of a device together, so that nothing wraps: 2^40 bytes.
constexpr std::uint64_t most = std::uint64_t{1} << 40;

/// The region that holds all of `size` bytes at `offset` of the window, and where in it.
const SharedMemory* find_at(std::span<const SharedMemory> regions, std::uint64_t& offset, std::size_t size) noexcept {
  for (const auto& region : regions) {
    if (offset < region.length) return size <= region.length - offset ? &region : nullptr;
    offset -= region.length;
  }
  return nullptr;
}

}  // namespace

Result<void> check_shared_memory(std::span<const SharedMemory> regions) {
  std::array<bool, 256> seen{};
  std::uint64_t all = 0;
  for (const auto& region : regions) {
    const bool whole = region.length != 0 && region.length % page == 0 && region.length <= most - all;
    if (!whole || region.host == nullptr || !memory::is_aligned(region.host, page) || seen.at(region.id)) {
      return Error(Errc::invalid_argument, "share memory",
                   fmt::format("region {}: {:#x} bytes: twice, not of whole pages, too large or nowhere", region.id,
                               region.length));
    }
    seen.at(region.id) = true;
    all += region.length;
  }
  return {};
}

const SharedMemory* find_shared_memory(std::span<const SharedMemory> regions, std::uint32_t id) noexcept {
  const auto found = std::ranges::find_if(regions, [&](const SharedMemory& it) { return it.id == id; });
  return found == regions.end() ? nullptr : &*found;
}

std::uint64_t shared_memory_offset(std::span<const SharedMemory> regions, std::size_t region) noexcept {
  std::uint64_t offset = 0;
  for (std::size_t i = 0; i < region; ++i) offset += regions[i].length;
  return offset;
}

void read_shared_memory(std::span<const SharedMemory> regions, std::uint64_t offset, Bytes out) noexcept {
  std::ranges::fill(out, std::byte{0});
  if (const auto* region = find_at(regions, offset, out.size())) {
    memory::copy_out(out.data(), region->host + offset, out.size());
  }
}

void write_shared_memory(std::span<const SharedMemory> regions, std::uint64_t offset, ConstBytes in) noexcept {
  if (const auto* region = find_at(regions, offset, in.size())) {
    memory::copy_in(region->host + offset, in.data(), in.size());
  }
}

}  // namespace trivet::virtio
