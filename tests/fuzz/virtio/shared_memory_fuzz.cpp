// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A guest that reads and writes a window of shared memory regions at any place in any width, and asks for regions by
// any number: a plain copy of the window says what it must see.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include <trivet/virtio/shared_memory.hpp>

namespace {

using namespace trivet;

constexpr std::uint64_t page = 4096;

void promise(bool kept, const char* what) {
  if (kept) return;
  std::fprintf(stderr, "shared memory: broken promise: %s\n", what);
  std::abort();
}

struct Free {
  void operator()(std::byte* memory) const noexcept { std::free(memory); }
};
using Pages = std::unique_ptr<std::byte, Free>;

Pages pages(std::uint64_t count) {
  Pages made(static_cast<std::byte*>(std::aligned_alloc(page, count * page)));
  std::fill_n(made.get(), count * page, std::byte{0});
  return made;
}

}  // namespace

// Steps of 10 bytes or less: what, where, value.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t first_pages = 2;
  const auto first = pages(first_pages);
  const auto second = pages(1);
  const std::array regions{virtio::SharedMemory{.id = 5, .length = first_pages * page, .host = first.get()},
                           virtio::SharedMemory{.id = 1, .length = page, .host = second.get()}};
  promise(virtio::check_shared_memory(regions).has_value(), "they are good");
  std::vector<std::byte> model((first_pages + 1) * page);

  for (; size >= 3; data += std::min<std::size_t>(size, 10), size -= std::min<std::size_t>(size, 10)) {
    const unsigned what = data[0];
    std::uint16_t where = 0;
    std::memcpy(&where, data + 1, sizeof where);
    std::array<std::byte, 8> value{};
    std::memcpy(value.data(), data + 3, std::min<std::size_t>(size - 3, 7));
    const std::size_t width = std::size_t{1} << (what & 3U);
    // Half of them around the window, the others anywhere at all.
    const std::uint64_t offset = (what & 4U) != 0 ? std::uint64_t{where} << 48 | where : where % (4 * page);
    const bool inside = offset < model.size() && width <= model.size() - offset;
    const bool crosses = offset < first_pages * page && width > first_pages * page - offset;

    const auto* found = virtio::find_shared_memory(regions, (what & 8U) != 0 ? where : where % 8U);
    promise(found == nullptr || found->id == ((what & 8U) != 0 ? where : where % 8U), "a region is the one asked for");

    auto bytes = std::span(value).first(width);
    if ((what & 16U) != 0) {
      virtio::write_shared_memory(regions, offset, bytes);
      if (inside && !crosses) std::ranges::copy(bytes, model.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    virtio::read_shared_memory(regions, offset, bytes);
    for (std::size_t i = 0; i < width; ++i) {
      const auto expected = inside && !crosses ? model[offset + i] : std::byte{0};
      promise(bytes[i] == expected, "what is read is what is there");
    }
  }
  for (std::size_t i = 0; i < model.size(); ++i) {
    const auto now = i < first_pages * page ? first.get()[i] : second.get()[i - first_pages * page];
    promise(now == model[i], "nothing else was written");
  }
  return 0;
}
