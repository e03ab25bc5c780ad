// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Regions: read-only, moving, logged, from every source.
#include <atomic>
#include <cstring>
#include <sys/mman.h>
#include <thread>

#include <trivet/core/unique_fd.hpp>

#include "scenarios.hpp"

namespace conformance {
namespace {

using namespace trivet_guest;
using trivet::Cap;
using trivet::GuestRange;

std::uint64_t read_word(const std::byte* at) {
  std::uint64_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return value;
}
void write_word(std::byte* at, std::uint64_t value) {
  std::memcpy(at, &value, sizeof value);
}

}  // namespace

Outcome read_only_memory(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "read_only_memory"));
  CONFORM_ASSIGN(const auto rom, machine->map({{rom_region}, region_size}, trivet::Access::read_only));
  CONFORM(rom.access == trivet::Access::read_only, "the region says otherwise");
  for (std::size_t i = 0; i < 64; ++i) rom.host[i] = std::byte{test_pattern(i)};
  CONFORM_STEP(machine->reach(1));
  CONFORM_STEP(match_trace(machine->bus().take_trace(), {}));  // reading makes no exit
  CONFORM_STEP(machine->reach(2));
  CONFORM_STEP(match_trace(
      machine->bus().take_trace(),
      {store(rom_region + 1, 1, 0x11), store(rom_region + 2, 2, 0x2233), store(rom_region + 4, 4, 0x44556677),
       store(rom_region + 8, 8, 0x8899aabbccddeeff), store(rom_region + 16, 4, pattern(16, 4) | 0xff)}));
  CONFORM_STEP(machine->finish());
  CONFORM_STEP(match_trace(machine->bus().take_trace(), {}));
  for (std::size_t i = 0; i < 64; ++i) CONFORM(rom.host[i] == std::byte{test_pattern(i)}, "byte {} was changed", i);
  return passed();
}

Outcome read_only_code(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "read_only_code"));
  CONFORM_ASSIGN(const auto rom, machine->map({{rom_region}, region_size}, trivet::Access::read_only));
  constexpr std::array<unsigned char, 6> code{0xb8, 0x0d, 0x60, 0x00, 0x00, 0xc3};
  std::memcpy(rom.host + 0x1000, code.data(), code.size());
  CONFORM_STEP(machine->finish());
  return match_trace(machine->bus().take_trace(), {});
}

Outcome map_while_running(trivet::Hypervisor& hypervisor) {
  constexpr std::uint64_t rounds = 20;
  const GuestRange range{{moving_region}, region_size};
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "map_while_running"));
  machine->mailbox().argument[0] = rounds;
  Outcome mapper_outcome = passed();
  std::atomic<bool> ended = false;
  const auto wanted = [&] { return std::atomic_ref(machine->mailbox().go).load(); };
  const auto await = [&](std::uint64_t stage) {
    while (wanted() < stage && !ended) std::this_thread::yield();
  };
  const auto move = [&]() -> Outcome {
    for (std::uint64_t round = 1; round <= rounds; ++round) {
      await(2 * round - 1);
      CONFORM_ASSIGN(const auto region, machine->map(range));
      write_word(region.host + 8, round);
      await(2 * round);
      CONFORM(ended || read_word(region.host) == round * 0x0101010101010101, "the guest's write in round {}", round);
      CONFORM_OK(machine->vm().unmap(range));
    }
    CONFORM_ERROR(machine->vm().unmap(range), trivet::Errc::not_found);
    return passed();
  };
  std::jthread mapper([&] { mapper_outcome = move(); });
  auto outcome = machine->finish();
  ended = true;
  mapper.join();
  CONFORM_STEP(mapper_outcome);
  return outcome;
}

namespace {

constexpr std::uint64_t logged_pages = 512;
constexpr std::uint64_t logged_rounds = 4;
using PageSet = std::array<std::uint64_t, logged_pages / 64>;

// All, none, some, others. All first, because a hypervisor may map a page for writing when the guest first reads it,
// and count that: nobody can tell then. From the second touch on, the log is exact.
PageSet pages_of(std::uint64_t round) {
  PageSet set{};
  if (round == 1) return set;
  for (std::uint64_t page = 0; page < logged_pages; ++page) {
    const bool in = round == 0 || (page * 7 + round * 5) % 11 < 3;
    if (in) set[page / 64] |= std::uint64_t{1} << (page % 64);
  }
  return set;
}

Outcome check_bitmap(trivet::Vm& vm, const GuestRange& range, const PageSet& wanted, std::uint64_t round) {
  CONFORM_ASSIGN(const auto bitmap, vm.dirty_log()->take(range));
  CONFORM(bitmap.size() == wanted.size(), "{} words for {} pages", bitmap.size(), logged_pages);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    CONFORM(bitmap[i] == wanted[i], "round {} pages {}-{}: logged {:016x}, written {:016x}", round, 64 * i, 64 * i + 63,
            bitmap[i], wanted[i]);
  }
  return passed();
}

Outcome run_dirty(trivet::Hypervisor& hypervisor, const MachineOptions& options) {
  const GuestRange range{{moving_region}, logged_pages * 4096};
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "dirty_log", options));
  CONFORM_OK(machine->map(range, trivet::Access::read_write, true));
  CONFORM(machine->vm().dirty_log() != nullptr, "no facet for a capability that is there");
  machine->mailbox().argument[0] = logged_pages;
  machine->mailbox().argument[1] = logged_rounds;
  for (std::uint64_t round = 0; round < logged_rounds; ++round) {
    const PageSet pages = pages_of(round);
    for (std::size_t i = 0; i < pages.size(); ++i) machine->mailbox().argument[2 + i] = pages[i];
    CONFORM_STEP(machine->reach(static_cast<std::uint32_t>(round + 1)));
    CONFORM_STEP(check_bitmap(machine->vm(), range, pages, round));
    CONFORM_STEP(check_bitmap(machine->vm(), range, {}, round));  // taking starts again
  }
  CONFORM_STEP(machine->reach(logged_rounds + 1));
  CONFORM_STEP(check_bitmap(machine->vm(), range, {0b110000}, logged_rounds));
  CONFORM_ERROR(machine->vm().dirty_log()->take({{0}, ram_size}), trivet::Errc::bad_state);
  CONFORM_ERROR(machine->vm().dirty_log()->take({{moving_region}, 4096}), trivet::Errc::not_found);
  return machine->finish();
}

}  // namespace

Outcome dirty_log(trivet::Hypervisor& hypervisor) {
  return run_dirty(hypervisor, {});
}

// The smallest rings there are, so that they run full on the way.
Outcome dirty_ring(trivet::Hypervisor& hypervisor) {
  const auto most = hypervisor.limit(trivet::Limit::dirty_ring_entries);
  CONFORM(most != 0, "Cap dirty_ring without Limit dirty_ring_entries");
  MachineOptions options;
  options.config.dirty_ring_entries = static_cast<std::uint32_t>(std::min<std::uint64_t>(most, 1024));
  return run_dirty(hypervisor, options);
}

namespace {

struct Source {
  Cap cap;
  GuestRange range;
  trivet::MemorySource source;
};

}  // namespace

Outcome memory_sources(trivet::Hypervisor& hypervisor) {
  constexpr std::uint64_t size = region_size;
  trivet::UniqueFd file(::memfd_create("conformance", MFD_CLOEXEC));
  CONFORM(file.value() >= 0 && ::ftruncate(file.value(), 3 * size) == 0, "memfd");
  void* host = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CONFORM(host != MAP_FAILED, "mmap");
  const std::array<Source, 5> sources{{
      {Cap::host_memory, {{moving_region}, size}, trivet::HostMemory{static_cast<std::byte*>(host)}},
      {Cap::file_memory, {{moving_region + size}, size}, trivet::FileMemory{file.value(), size}},
      {Cap::hypervisor_memory, {{moving_region + 4 * size}, size}, trivet::HypervisorMemory{}},
      {Cap::file_memory, {{high_region}, size}, trivet::FileMemory{file.value(), 0}},
      {Cap::hypervisor_memory, {{high_region + 0x200000}, size}, trivet::HypervisorMemory{}},
  }};
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "memory_sources"));
  std::vector<trivet::MappedRegion> regions;
  auto& mailbox = machine->mailbox();
  for (const auto& [cap, range, source] : sources) {
    auto region = machine->vm().map({.range = range, .source = source});
    if (hypervisor.supports(cap) == trivet::Support::no) {
      CONFORM_ERROR(region, trivet::Errc::unsupported);
      continue;
    }
    CONFORM_OK(region);
    CONFORM(region->range == range && region->host != nullptr, "{}", to_string(cap));
    for (std::uint64_t at = 0; at < size; at += 4096) write_word(region->host + at, range.start.value + at);
    const std::uint64_t index = mailbox.argument[0]++;
    mailbox.argument[1 + 2 * index] = range.start.value;
    mailbox.argument[2 + 2 * index] = size;
    regions.push_back(*region);
  }
  CONFORM(!regions.empty(), "no source of memory at all");
  const auto first = regions.front().range.start.value;
  CONFORM_ERROR(machine->map({{first + size - 4096}, 8192}), trivet::Errc::already_exists);
  CONFORM_ERROR(machine->map({{moving_region + 8 * size + 1}, 4096}), trivet::Errc::invalid_argument);
  CONFORM_ERROR(machine->map({{moving_region + 8 * size}, 4095}), trivet::Errc::invalid_argument);
  CONFORM_ERROR(machine->vm().unmap({{moving_region + 9 * size}, size}), trivet::Errc::not_found);
  CONFORM_STEP(machine->finish());
  for (const auto& region : regions) {
    const std::uint64_t start = region.range.start.value;
    for (std::uint64_t at = 0; at < size; at += 4096) {
      CONFORM(read_word(region.host + at + 8) == ~(start + at), "the guest's write at {:#x}", start + at);
    }
    if (region.shared_fd < 0) continue;
    // As another process sees it.
    void* const again =
        ::mmap(nullptr, size, PROT_READ, MAP_SHARED, region.shared_fd, static_cast<off_t>(region.shared_offset));
    CONFORM(again != MAP_FAILED, "mmap of the shared descriptor of {:#x}", start);
    const auto value = read_word(static_cast<std::byte*>(again) + 8);
    ::munmap(again, size);
    CONFORM(value == ~start, "the shared descriptor of {:#x} has {:#x}", start, value);
  }
  for (const auto& region : regions) CONFORM_OK(machine->vm().unmap(region.range));
  machine.reset();
  ::munmap(host, size);
  return passed();
}

}  // namespace conformance
