// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Any regions, any accesses, against a model that holds each byte by itself.
#include <algorithm>
#include <array>
#include <fuzzer/FuzzedDataProvider.h>
#include <limits>
#include <memory>
#include <vector>

#include <trivet/memory/memory_map.hpp>
#include <trivet/test/require.hpp>

namespace {

using namespace trivet;
using namespace trivet::memory;
using test::require;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

/// The same memory, the slow and plain way.
class Model {
 public:
  struct Part {
    GuestRange range;
    bool writable;
    std::vector<std::byte> bytes;
  };

  [[nodiscard]] bool fits(const GuestRange& range) const {
    return std::none_of(parts.begin(), parts.end(), [&](const Part& p) { return p.range.overlaps(range); });
  }
  std::byte* at(std::uint64_t address) {
    for (auto& part : parts) {
      if (part.range.contains({address})) return &part.bytes[address - part.range.start.value];
    }
    return nullptr;
  }
  [[nodiscard]] bool allows(std::uint64_t address, std::uint64_t size, bool write) const {
    for (std::uint64_t i = 0; i < size; ++i) {
      if (address > most - i) return false;
      const auto part =
          std::find_if(parts.begin(), parts.end(), [&](const Part& p) { return p.range.contains({address + i}); });
      if (part == parts.end() || (write && !part->writable)) return false;
    }
    return true;
  }

  std::vector<Part> parts;
};

std::uint64_t any_address(FuzzedDataProvider& input, const Model& model) {
  if (model.parts.empty() || input.ConsumeIntegralInRange(0, 7) == 0) return input.ConsumeIntegral<std::uint64_t>();
  const auto& range = model.parts[input.ConsumeIntegralInRange<std::size_t>(0, model.parts.size() - 1)].range;
  const std::uint64_t edge = input.ConsumeBool() ? range.start.value : range.last().value;
  return edge + input.ConsumeIntegralInRange<std::uint64_t>(0, 64) - 32;
}

template <class T>
void check_scalar(FuzzedDataProvider& input, Model& model, const GuestMemory& memory, std::uint64_t at) {
  const auto value = input.ConsumeIntegral<T>();
  const bool aligned = at % sizeof(T) == 0;
  const auto stored = memory.store<T>({at}, value);
  require(stored.has_value() == (aligned && model.allows(at, sizeof(T), true)));
  if (stored) {
    for (std::size_t i = 0; i < sizeof(T); ++i) *model.at(at + i) = static_cast<std::byte>(value >> (8 * i));
    require(*memory.load<T>({at}) == value);
  }
  require(memory.load<T>({at}).has_value() == (aligned && model.allows(at, sizeof(T), false)));
  const auto object = memory.read_object<T>({at});
  require(object.has_value() == model.allows(at, sizeof(T), false));
  if (object) {
    T expected = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      expected = static_cast<T>(expected | std::to_integer<T>(*model.at(at + i)) << (8 * i));
    }
    require(*object == expected);
  }
}

void check_bytes(FuzzedDataProvider& input, Model& model, const GuestMemory& memory, std::uint64_t at) {
  std::vector<std::byte> bytes(input.ConsumeIntegralInRange<std::size_t>(0, 3 * page));
  std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(input.ConsumeIntegral<std::uint8_t>()));
  const GuestRange range{{at}, bytes.size()};
  const bool writes = input.ConsumeBool() ? memory.write({at}, bytes).has_value()
                                          : memory.fill(range, bytes.empty() ? std::byte{} : bytes[0]).has_value();
  require(writes == model.allows(at, bytes.size(), true));
  if (writes) {
    for (std::size_t i = 0; i < bytes.size(); ++i) *model.at(at + i) = bytes[i];
  }
  const bool reads = memory.read({at}, bytes).has_value();
  require(reads == model.allows(at, bytes.size(), false));
  require(memory.contains(range) == (reads && !bytes.empty()));
  if (!reads) return;
  for (std::size_t i = 0; i < bytes.size(); ++i) require(bytes[i] == *model.at(at + i));
}

void check_slices(FuzzedDataProvider& input, const Model& model, const GuestMemory& memory, std::uint64_t at) {
  const auto size = input.ConsumeIntegralInRange<std::uint64_t>(0, 3 * page);
  const auto permission = input.ConsumeBool() ? Permission::write : Permission::read;
  std::array<Slice, 3> runs;
  const auto count = memory.slices({{at}, size}, permission, runs);
  const bool allowed = model.allows(at, size, permission == Permission::write);
  require(count.has_value() == allowed || count.error().code() == Errc::limit);
  if (!count) return;
  std::uint64_t done = 0;
  for (std::size_t i = 0; i < *count; ++i) {
    const Region* region = memory.find({at + done});
    const std::uint64_t offset = at + done - region->range().start.value;
    require(runs[i].size() != 0 && runs[i].host() == region->host() + offset);
    require(runs[i].size() <= region->range().size - offset);
    done += runs[i].size();
  }
  require(done == size);
  require(memory.slice({{at}, size}, permission).has_value() == (*count == 1));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  Model model;
  MemoryMap map;
  for (int steps = 0; input.remaining_bytes() != 0 && steps < 64; ++steps) {
    const auto memory = map.snapshot();
    const std::uint64_t at = any_address(input, model);
    switch (input.ConsumeIntegralInRange(0, 7)) {
      case 0: {
        const GuestRange range{{at & ~(page - 1)}, page * input.ConsumeIntegralInRange<std::uint64_t>(1, 2)};
        const bool writable = input.ConsumeIntegralInRange(0, 3) != 0;
        auto region = Region::create(range.start, *Mapping::anonymous(range.size),
                                     {writable ? Access::read_write : Access::read_only, input.ConsumeBool()});
        require(region.has_value() == range.valid());
        if (!region || model.parts.size() == 6) break;
        require(map.insert(*region).has_value() == model.fits(range));
        if (model.fits(range)) model.parts.push_back({range, writable, std::vector<std::byte>(range.size)});
        break;
      }
      case 1: {
        if (model.parts.empty()) break;
        const auto part = model.parts.begin() + input.ConsumeIntegralInRange<std::ptrdiff_t>(
                                                    0, static_cast<std::ptrdiff_t>(model.parts.size()) - 1);
        require(map.remove(part->range).has_value());
        require(!map.remove(part->range).has_value());
        model.parts.erase(part);
        break;
      }
      case 2:
        check_bytes(input, model, *memory, at);
        break;
      case 3:
        check_slices(input, model, *memory, at);
        break;
      case 4:
        check_scalar<std::uint8_t>(input, model, *memory, at);
        break;
      case 5:
        check_scalar<std::uint16_t>(input, model, *memory, at);
        break;
      case 6:
        check_scalar<std::uint32_t>(input, model, *memory, at);
        break;
      default:
        check_scalar<std::uint64_t>(input, model, *memory, at);
        break;
    }
  }
  return 0;
}
