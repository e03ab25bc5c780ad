// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The packed ring, each operation beside its floor, as split_ring_bench.cpp. The floor copies descriptors out, and
// keeps what each chain takes of the ring, for a chain that ends before an older one may have that one's place
// overwritten (virtio 1.2, 2.8.2). The table of bars has none for packed rings: the ratio is printed alone.

#include <array>
#include <benchmark/benchmark.h>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <trivet/memory/access.hpp>
#include <trivet/test/driver.hpp>
#include <trivet/test/floor_report.hpp>
#include <trivet/test/require.hpp>
#include <trivet/virtio/buffers.hpp>

namespace {

using namespace trivet;
using namespace trivet::virtio;
using memory::load_at;
using memory::store_at;
using test::Driver;
using test::require;
using test::TestGuest;

constexpr std::uint16_t queue_size = 256;

constexpr std::uint16_t mark_of(std::uint16_t place) {
  return (place & abi::packed_wrap) != 0 ? abi::packed_desc_f_avail : abi::packed_desc_f_used;
}

/// Chains of equal length, which the driver's part writes anew for each round.
struct Ring {
  explicit Ring(std::uint16_t chain_length)
      : length(chain_length), driver(guest, queue_size, Driver::packed_features), queue(driver.queue()) {
    for (std::uint16_t i = 0; i < length; ++i) addresses.push_back(guest.allocate(512).value);
    const auto host = [&](GuestAddress at) { return guest.memory().slice({at, 1}, memory::Permission::write)->host(); };
    base = guest.memory().regions()[0]->host();
    descriptors = host(driver.descriptor_area());
    driver_event = host(driver.driver_area());
  }

  [[nodiscard]] std::byte* at(std::uint16_t place) const { return descriptors + std::size_t{16} * (place & 0x7fffU); }

  /// The driver's part, in ours and in the floor: `count` more chains.
  void offer(std::uint16_t count) {
    for (std::uint16_t chain = 0; chain < count; ++chain) {
      const std::uint16_t head = next;
      for (std::uint16_t i = 0; i < length; ++i, next = abi::packed_after(next, 1, queue_size)) {
        store_at<std::uint64_t>(at(next), addresses[i]);
        store_at<std::uint32_t>(at(next) + 8, i == 0 ? 16 : 512);
        store_at<std::uint16_t>(at(next) + 12, chain);
        if (i != 0) expose(next, i);
      }
      expose(head, 0);
    }
  }
  void expose(std::uint16_t place, std::uint16_t i) const {
    const unsigned flags = (i == 0 ? 0U : abi::desc_f_write) | (i + 1 == length ? 0U : abi::desc_f_next);
    store_at<std::uint16_t>(at(place) + 14, static_cast<std::uint16_t>(flags | mark_of(place)),
                            std::memory_order_release);
  }

  std::uint16_t length;
  TestGuest guest;
  Driver driver;
  Queue queue;
  std::vector<std::uint64_t> addresses;
  std::uint16_t next = abi::packed_start;
  std::byte* base;
  std::byte* descriptors;
  std::byte* driver_event;
};

/// What the floor keeps of each chain in flight, by the place of its first descriptor.
struct Kept {
  std::array<std::uint64_t, std::size_t{2} * queue_size> words;
  std::array<std::uint16_t, queue_size> ids;
  std::array<std::uint16_t, queue_size> counts;
};

/// One chain at `place`, which moves behind it: what 2.8 makes necessary. Copied out, then walked.
template <class Visit>
bool floor_walk(const Ring& ring, std::uint16_t& place, Kept& kept, Visit visit) {
  constexpr std::uint16_t both = abi::packed_desc_f_avail | abi::packed_desc_f_used;
  const auto head = load_at<std::uint16_t>(ring.at(place) + 14, std::memory_order_acquire);
  if ((head & both) != mark_of(place)) return false;
  const std::uint16_t first = place & 0x7fffU;
  std::uint16_t count = 0;
  for (;;) {
    if (count == queue_size) return false;
    const auto entry = std::size_t{2} * (place & 0x7fffU);
    const auto rest = load_at<std::uint64_t>(ring.at(place) + 8);
    kept.words[entry] = load_at<std::uint64_t>(ring.at(place));
    kept.words[entry + 1] = rest;
    ++count;
    place = abi::packed_after(place, 1, queue_size);
    if ((rest >> 48 & abi::desc_f_next) != 0) continue;
    kept.ids[first] = static_cast<std::uint16_t>(rest >> 32);
    kept.counts[first] = count;
    break;
  }
  benchmark::DoNotOptimize(&kept);
  benchmark::ClobberMemory();
  std::uint64_t total = 0;
  std::size_t entry = first;
  for (std::uint16_t i = 0; i < count; ++i, entry = entry + 1 == queue_size ? 0 : entry + 1) {
    const auto rest = kept.words[2 * entry + 1];
    const auto flags = static_cast<std::uint16_t>(rest >> 48);
    if ((flags & abi::desc_f_indirect) != 0) return false;
    total += static_cast<std::uint32_t>(rest);
    if (total > std::uint64_t{1} << 32) return false;
    if (!visit(kept.words[2 * entry], static_cast<std::uint32_t>(rest), (flags & abi::desc_f_write) != 0)) return false;
  }
  return true;
}

void pop_and_walk(benchmark::State& state, std::uint16_t length) {
  Ring ring(length);
  const auto batch = static_cast<std::uint16_t>(queue_size / length);
  ring.offer(batch);
  while (state.KeepRunningBatch(batch)) {
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint16_t i = 0; i < batch; ++i) {
      const auto popped = ring.queue.pop();
      require(popped.has_value() && popped->has_value());
      Chain chain = **popped;
      std::uint64_t bytes = 0;
      for (;;) {
        const auto descriptor = chain.next();
        if (!descriptor) std::abort();
        if (!*descriptor) break;
        bytes += (*descriptor)->length + (*descriptor)->address.value;
      }
      benchmark::DoNotOptimize(bytes);
    }
    state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    require(ring.queue.go_back(batch).has_value());  // not timed: each chain gives its entries back
  }
}

void pop_and_walk_floor(benchmark::State& state, std::uint16_t length) {
  Ring ring(length);
  const auto batch = static_cast<std::uint16_t>(queue_size / length);
  ring.offer(batch);
  std::uint16_t place = abi::packed_start;
  Kept kept;
  std::uint16_t taken = 0;
  for (auto _ : state) {
    std::uint64_t bytes = 0;
    require(floor_walk(ring, place, kept, [&](std::uint64_t address, std::uint32_t size, bool) {
      bytes += size + address;
      return true;
    }));
    benchmark::DoNotOptimize(bytes);
    if (++taken == batch) {
      taken = 0;
      place = abi::packed_start;
    }
  }
}

struct Header {
  std::uint64_t a;
  std::uint64_t b;
};

/// Pop, read a 16-byte header, touch the data, add used, ask for the notification; per chain.
void cycle(benchmark::State& state, std::uint16_t batch) {
  Ring ring(2);
  std::uint64_t sum = 0;
  while (state.KeepRunningBatch(batch)) {
    ring.offer(batch);
    for (std::uint16_t i = 0; i < batch; ++i) {
      const auto chain = ring.queue.pop();
      require(chain.has_value() && chain->has_value());
      auto buffers = Buffers::create(**chain);
      require(buffers.has_value());
      const auto header = buffers->reader.read_object<Header>();
      require(header.has_value());
      sum += header->a;
      require(buffers->writer.write_object<std::uint64_t>(sum).has_value());
      require(ring.queue.stage_used((*chain)->id(), buffers->writer.written()).has_value());
    }
    ring.queue.publish();
    benchmark::DoNotOptimize(ring.queue.should_notify());
  }
}

void cycle_floor(benchmark::State& state, std::uint16_t batch) {
  constexpr std::uint16_t both = abi::packed_desc_f_avail | abi::packed_desc_f_used | abi::desc_f_write;
  Ring ring(2);
  std::uint64_t sum = 0;
  std::uint16_t place = abi::packed_start;
  std::uint16_t used = abi::packed_start;
  Kept kept;
  while (state.KeepRunningBatch(batch)) {
    ring.offer(batch);
    const std::uint16_t first = used;
    for (std::uint16_t i = 0; i < batch; ++i) {
      bool header = true;
      const std::uint16_t token = place & 0x7fffU;
      require(floor_walk(ring, place, kept, [&](std::uint64_t address, std::uint32_t size, bool writable) {
        if (address > TestGuest::default_size || size > TestGuest::default_size - address) return false;
        std::byte* at = ring.base + address;
        if (header) {
          if (size < 16 || writable) return false;
          sum += load_at<std::uint64_t>(at);
          benchmark::DoNotOptimize(load_at<std::uint64_t>(at + 8));
          header = false;
        } else {
          if (size < 8 || !writable) return false;
          store_at<std::uint64_t>(at, sum);
        }
        return true;
      }));
      store_at<std::uint32_t>(ring.at(used) + 8, 8);
      store_at<std::uint16_t>(ring.at(used) + 12, kept.ids[token]);
      const std::uint16_t flags = (used & abi::packed_wrap) != 0 ? both : abi::desc_f_write;
      if (used != first) store_at<std::uint16_t>(ring.at(used) + 14, flags, std::memory_order_release);
      used = abi::packed_after(used, kept.counts[token], queue_size);
    }
    const std::uint16_t flags = (first & abi::packed_wrap) != 0 ? both : abi::desc_f_write;
    store_at<std::uint16_t>(ring.at(first) + 14, flags, std::memory_order_release);
    memory::full_fence();
    const auto event = load_at<std::uint32_t>(ring.driver_event);
    const bool notify = event >> 16 == abi::ring_event_flags_desc
                            ? abi::packed_need_event(static_cast<std::uint16_t>(event), used, 2U * batch, queue_size)
                            : event >> 16 != abi::ring_event_flags_disable;
    benchmark::DoNotOptimize(notify);
  }
}

auto* add_pair(test::FloorReport& report, const std::string& name, double bar, auto ours, auto floor) {
  benchmark::RegisterBenchmark((name + "/floor").c_str(), floor);
  report.bar(name, bar);
  return benchmark::RegisterBenchmark(name.c_str(), ours);
}

}  // namespace

int main(int argc, char** argv) {
  test::FloorReport report;
  for (const std::uint16_t length : std::to_array<std::uint16_t>({1, 4, 16})) {
    add_pair(
        report, "packed: pop and walk a chain of " + std::to_string(length), 0,
        [length](auto& s) { pop_and_walk(s, length); }, [length](auto& s) { pop_and_walk_floor(s, length); })
        ->UseManualTime();
  }
  add_pair(
      report, "packed: whole cycle, EVENT_IDX", 0, [](auto& s) { cycle(s, 1); }, [](auto& s) { cycle_floor(s, 1); });
  add_pair(
      report, "packed: whole cycle, EVENT_IDX, batch of 32", 0, [](auto& s) { cycle(s, 32); },
      [](auto& s) { cycle_floor(s, 32); });
  return test::run_with_floor(argc, argv, report);
}
