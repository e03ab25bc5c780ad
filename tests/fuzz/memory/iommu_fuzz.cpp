// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What a guest maps and unmaps for a device, and what the device accesses, against a table of every address.
#include <algorithm>
#include <array>
#include <fuzzer/FuzzedDataProvider.h>
#include <memory>
#include <optional>
#include <vector>

#include <trivet/memory/iommu.hpp>
#include <trivet/test/require.hpp>

namespace {

using namespace trivet;
using namespace trivet::memory;
using test::require;

constexpr std::uint64_t io_space = 96;                         // I/O addresses, from `io_base`
constexpr std::uint64_t io_base = 0xffff'ffff'ffff'ffc0 - 32;  // so that some lie beyond the end of the address space
constexpr std::uint64_t memory_size = 4096;

/// The guest's tables: an address at a time.
class Model final : public IoTranslator {
 public:
  struct Entry {
    std::uint64_t target;
    IoPermission permission;
  };

  Result<IoMapping> translate(IoVirtualAddress at, Permission permission) override {
    if (at.value < io_base) return Error(Errc::out_of_range, "translate", "not mapped", Blame::guest);
    const auto& entry = entries[at.value - io_base];
    if (!entry) return Error(Errc::out_of_range, "translate", "not mapped", Blame::guest);
    if (!entry->permission.allows(permission)) {
      return Error(Errc::permission, "translate", "not for that", Blame::guest);
    }
    return IoMapping{at, 1, {entry->target}, entry->permission};
  }

  /// Where each byte is, or nothing when one may not be accessed.
  [[nodiscard]] std::optional<std::vector<std::uint64_t>> resolve(std::uint64_t at, std::uint64_t size,
                                                                  Permission permission) const {
    std::vector<std::uint64_t> places;
    for (std::uint64_t i = 0; i < size; ++i) {
      if (at > ~i || at + i < io_base) return std::nullopt;
      const auto& entry = entries[at + i - io_base];
      if (!entry || !entry->permission.allows(permission) || entry->target >= memory_size) return std::nullopt;
      places.push_back(entry->target);
    }
    return places;
  }

  std::array<std::optional<Entry>, io_space> entries;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  MemoryMap map;
  require(map.insert(*Region::create({0}, *Mapping::anonymous(memory_size))).has_value());
  std::array<std::byte, memory_size> bytes{};
  const auto model = std::make_shared<Model>();
  Iommu iommu(model, input.ConsumeIntegralInRange<std::size_t>(0, 12));
  IommuView view(iommu, map);
  for (int step = 0; step < 200 && input.remaining_bytes() != 0; ++step) {
    const std::uint64_t first = input.ConsumeIntegralInRange<std::uint64_t>(0, io_space - 1);
    const std::uint64_t length = input.ConsumeIntegralInRange<std::uint64_t>(0, io_space);
    const std::uint64_t at = io_base + first;
    switch (input.ConsumeIntegralInRange(0, 4)) {
      case 0: {  // map
        const std::uint64_t target = input.ConsumeIntegralInRange<std::uint64_t>(0, memory_size + 16);
        const IoPermission permission{input.ConsumeBool(), input.ConsumeBool()};
        const bool fits = length != 0 && length - 1 <= ~at;
        require(iommu.insert({{at}, length, {target}, permission}).has_value() == fits);
        for (std::uint64_t i = 0; fits && i < length; ++i) model->entries[first + i] = {target + i, permission};
        break;
      }
      case 1:  // unmap
        for (std::uint64_t i = first; i < std::min(first + length, io_space); ++i) model->entries[i].reset();
        iommu.invalidate({at}, length);
        break;
      case 2: {
        const auto in = input.ConsumeBytes<std::uint8_t>(length);
        const auto places = model->resolve(at, in.size(), Permission::write);
        require(view.write({at}, std::as_bytes(std::span(in))).has_value() == places.has_value());
        for (std::size_t i = 0; places && i < in.size(); ++i) bytes[(*places)[i]] = static_cast<std::byte>(in[i]);
        break;
      }
      case 3: {
        std::vector<std::byte> out(length);
        const auto places = model->resolve(at, length, Permission::read);
        require(view.read({at}, out).has_value() == places.has_value());
        for (std::size_t i = 0; places && i < length; ++i) require(out[i] == bytes[(*places)[i]]);
        break;
      }
      default: {
        std::array<Slice, 8> runs;
        const auto places = model->resolve(at, length, Permission::read);
        const auto count = view.slices({at}, length, Permission::read, runs);
        require(!count || places);
        std::uint64_t total = 0;
        for (std::size_t i = 0; count && i < *count; ++i) total += runs[i].size();
        require(!count || total == length);
      }
    }
  }
  std::array<std::byte, memory_size> now{};
  require(map.snapshot()->read({0}, now).has_value());
  require(now == bytes);
  return 0;
}
