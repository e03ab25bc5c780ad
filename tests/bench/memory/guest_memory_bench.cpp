// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Guest memory, each operation beside its floor: the same accesses and the checks that safety needs, by hand.
#include <algorithm>
#include <atomic>
#include <benchmark/benchmark.h>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <trivet/memory/guest_memory.hpp>
#include <trivet/test/floor_report.hpp>

namespace {

using namespace trivet;
using namespace trivet::memory;

constexpr std::uint64_t region_size = std::uint64_t{64} << 10;
constexpr std::size_t address_count = 4096;

/// `count` regions with a gap after each; the same once more as plain arrays for the floor.
struct Guest {
  explicit Guest(std::size_t count, bool track_dirty = false) {
    GuestMemory::Regions regions;
    for (std::size_t i = 0; i < count; ++i) {
      regions.push_back(
          *Region::create({2 * i * region_size}, *Mapping::anonymous(region_size), {Access::read_write, track_dirty}));
      parts.push_back({2 * i * region_size, region_size, regions.back()->host()});
      std::memset(regions.back()->host(), 1, region_size);
    }
    std::mt19937_64 random(1);
    for (std::size_t i = 0; i < address_count; ++i) {
      addresses.push_back(2 * (random() % count) * region_size + random() % (region_size - 4096) / 8 * 8);
    }
    memory = *GuestMemory::create(std::move(regions));
  }

  struct Part {
    std::uint64_t start;
    std::uint64_t size;
    std::byte* host;
  };

  /// Null where `size` bytes at `at` are no memory.
  [[nodiscard]] std::byte* floor_find(std::uint64_t at, std::uint64_t size) const {
    const Part* base = parts.data();
    for (std::size_t count = parts.size(); count > 1;) {
      const std::size_t half = count / 2;
      base = base[half].start <= at ? base + half : base;
      count -= half;
    }
    const std::uint64_t offset = at - base->start;
    return offset < base->size && size <= base->size - offset ? base->host + offset : nullptr;
  }

  std::shared_ptr<const GuestMemory> memory;
  std::vector<Part> parts;
  std::vector<std::uint64_t> addresses;
};

template <class Operation>
void over_addresses(benchmark::State& state, const Guest& guest, Operation operation) {
  std::size_t i = 0;
  for (auto _ : state) operation(guest.addresses[i++ % address_count]);
}

void read_u64(benchmark::State& state, std::size_t regions) {
  const Guest guest(regions);
  over_addresses(state, guest, [&](std::uint64_t at) {
    const auto value = guest.memory->load<std::uint64_t>({at});
    if (!value) std::abort();
    benchmark::DoNotOptimize(*value);
  });
}

void read_u64_floor(benchmark::State& state, std::size_t regions) {
  const Guest guest(regions);
  over_addresses(state, guest, [&](std::uint64_t at) {
    const std::byte* host = guest.floor_find(at, 8);
    if (host == nullptr || at % 8 != 0) std::abort();
    benchmark::DoNotOptimize(load_at<std::uint64_t>(host));
  });
}

void write_u64(benchmark::State& state) {
  const Guest guest(1, true);
  over_addresses(state, guest, [&](std::uint64_t at) {
    if (!guest.memory->store<std::uint64_t>({at}, at)) std::abort();
  });
}

void write_u64_floor(benchmark::State& state) {
  const Guest guest(1, true);
  std::vector<std::atomic<std::uint64_t>> bits(region_size / 4096 / 64 + 1);
  over_addresses(state, guest, [&](std::uint64_t at) {
    std::byte* host = guest.floor_find(at, 8);
    if (host == nullptr || at % 8 != 0) std::abort();
    store_at<std::uint64_t>(host, at);
    auto& word = bits[at / 4096 / 64];
    const std::uint64_t bit = std::uint64_t{1} << (at / 4096 % 64);
    if ((word.load(std::memory_order_relaxed) & bit) == 0) word.fetch_or(bit);
  });
}

void copy_page(benchmark::State& state) {
  const Guest guest(1);
  std::vector<std::byte> out(4096);
  over_addresses(state, guest, [&](std::uint64_t at) {
    if (!guest.memory->read({at}, out)) std::abort();
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  });
}

void copy_page_floor(benchmark::State& state) {
  const Guest guest(1);
  std::vector<std::byte> out(4096);
  over_addresses(state, guest, [&](std::uint64_t at) {
    const std::byte* host = guest.floor_find(at, out.size());
    if (host == nullptr) std::abort();
    std::memcpy(out.data(), host, out.size());
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  });
}

}  // namespace

int main(int argc, char** argv) {
  trivet::test::FloorReport report;
  for (const std::size_t regions : {1, 16, 128}) {
    const std::string name = "read u64, " + std::to_string(regions) + " region(s)";
    benchmark::RegisterBenchmark(name.c_str(), read_u64, regions);
    benchmark::RegisterBenchmark((name + "/floor").c_str(), read_u64_floor, regions);
    report.bar(name, regions == 1 ? 1.5 : 1.2);
  }
  benchmark::RegisterBenchmark("write u64 with dirty bitmap", write_u64);
  benchmark::RegisterBenchmark("write u64 with dirty bitmap/floor", write_u64_floor);
  report.bar("write u64 with dirty bitmap", 2.0);
  benchmark::RegisterBenchmark("copy 4 KiB", copy_page);
  benchmark::RegisterBenchmark("copy 4 KiB/floor", copy_page_floor);
  report.bar("copy 4 KiB", 1.1);
  return trivet::test::run_with_floor(argc, argv, report);
}
