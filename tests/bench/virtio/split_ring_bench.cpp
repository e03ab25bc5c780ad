// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The split ring, each operation beside its floor: a loop by hand that does the same memory traffic and the same
// atomics, with the bounds checks that safety needs and nothing else, on the same rings.

#include <array>
#include <chrono>
#include <utility>

#include <trivet/virtio/buffers.hpp>

#include "split_ring_rows.hpp"

namespace {

using namespace trivet;
using namespace trivet::bench;

void pop_and_walk(benchmark::State& state, Ring::Shape shape) {
  Ring ring(shape);
  Queue& queue = *ring.queue;
  const std::uint16_t batch = ring.chains;
  ring.offer(batch);
  std::uint16_t taken = 0;
  for (auto _ : state) {
    const auto popped = queue.pop();
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
    if (++taken == batch) {
      require(queue.go_back(batch).has_value());
      taken = 0;
    }
  }
}

struct Header {
  std::uint64_t a;
  std::uint64_t b;
};

/// The next buffer of a chain that has one.
[[gnu::always_inline]] inline Descriptor next_of(Chain& chain) {
  const auto descriptor = chain.next();
  require(descriptor.has_value() && descriptor->has_value());
  return **descriptor;
}

/// What a device does that knows where its buffers are cut; gives what it wrote.
[[gnu::always_inline]] inline std::uint32_t walk_and_touch(Chain chain, std::uint64_t& sum) {
  const Descriptor in = next_of(chain);
  require(!in.writable && in.length >= sizeof(Header));
  const auto header = chain.memory().read_object<Header>(in.address);
  require(header.has_value());
  sum += header->a;
  const Descriptor out = next_of(chain);
  require(out.writable && out.length >= sizeof sum);
  require(chain.memory().store<std::uint64_t>(out.address, sum).has_value());
  const auto end = chain.next();
  require(end.has_value() && !end->has_value());
  return sizeof sum;
}

/// What one does that takes any layout.
std::uint32_t read_and_write(const Chain& chain, std::uint64_t& sum) {
  auto buffers = Buffers::create(chain);
  require(buffers.has_value());
  const auto header = buffers->reader.read_object<Header>();
  require(header.has_value());
  sum += header->a;
  require(buffers->writer.write_object<std::uint64_t>(sum).has_value());
  return buffers->writer.written();
}

/// Pop, read a 16-byte header, touch the data, add used, ask for the notification; `batch` chains a round, per chain.
template <class Work>
void cycle(benchmark::State& state, Ring::Shape shape, std::uint16_t batch, Work work) {
  Ring ring(shape);
  Queue& queue = *ring.queue;
  std::uint64_t sum = 0;
  while (state.KeepRunningBatch(batch)) {
    ring.offer(batch);
    for (std::uint16_t i = 0; i < batch; ++i) {
      const auto chain = queue.pop();
      require(chain.has_value() && chain->has_value());
      const auto written = work(**chain, sum);
      require(queue.stage_used((*chain)->id(), written).has_value());
    }
    queue.publish();
    benchmark::DoNotOptimize(queue.should_notify());
  }
}

void cycle_floor(benchmark::State& state, Ring::Shape shape, std::uint16_t batch) {
  Ring ring(shape);
  const bool event_idx = (shape.features & abi::f_event_idx) != 0;
  std::uint64_t sum = 0;
  std::uint16_t next = 0;
  while (state.KeepRunningBatch(batch)) {
    ring.offer(batch);
    const std::uint16_t old = next;
    const auto known = load_at<std::uint16_t>(ring.avail + 2, std::memory_order_acquire);
    require(static_cast<std::uint16_t>(known - next) <= queue_size);
    for (; next != known; ++next) {
      const auto head = load_at<std::uint16_t>(ring.avail + 4 + std::size_t{2} * (next & mask));
      bool first = true;
      require(floor_walk(ring.descriptors, queue_size, head,
                         [&](std::uint64_t address, std::uint32_t length, bool writable) {
                           if (address > ring.size || length > ring.size - address) return false;
                           std::byte* at = ring.base + address;
                           if (first) {
                             if (length < 16 || writable) return false;
                             sum += load_unaligned_at<std::uint64_t>(at);
                             benchmark::DoNotOptimize(load_unaligned_at<std::uint64_t>(at + 8));
                             first = false;
                           } else {
                             if (length < 8 || !writable) return false;
                             store_at<std::uint64_t>(at, sum);
                           }
                           return true;
                         }));
      std::byte* element = ring.used + 4 + std::size_t{8} * (next & mask);
      store_at<std::uint32_t>(element, head);
      store_at<std::uint32_t>(element + 4, 8);
    }
    store_at<std::uint16_t>(ring.used + 2, next, std::memory_order_release);
    memory::full_fence();
    const bool notify = event_idx ? abi::need_event(load_at<std::uint16_t>(ring.avail + 4 + 2 * queue_size), next, old)
                                  : load_at<std::uint16_t>(ring.avail) == 0;
    benchmark::DoNotOptimize(notify);
  }
}

/// One used element with its index, against Firecracker's 2.1 ns: the floor is the two stores and the release.
void add_used(benchmark::State& state, Ring::Shape shape) {
  Ring ring(shape);
  Queue& queue = *ring.queue;
  constexpr std::uint16_t batch = 64;
  std::vector<std::uint16_t> ids(batch);
  for (auto _ : state) {
    ring.offer(1);
    const auto chain = queue.pop();
    require(chain.has_value() && queue.push_used((*chain)->id(), 8).has_value());
  }
}

void add_used_floor(benchmark::State& state, Ring::Shape shape) {
  Ring ring(shape);
  std::uint16_t next = 0;
  for (auto _ : state) {
    ring.offer(1);
    const auto known = load_at<std::uint16_t>(ring.avail + 2, std::memory_order_acquire);
    require(static_cast<std::uint16_t>(known - next) == 1);
    const auto head = load_at<std::uint16_t>(ring.avail + 4 + std::size_t{2} * (next & mask));
    require(head < queue_size);
    std::byte* element = ring.used + 4 + std::size_t{8} * (next & mask);
    store_at<std::uint32_t>(element, head);
    store_at<std::uint32_t>(element + 4, 8);
    store_at<std::uint16_t>(ring.used + 2, ++next, std::memory_order_release);
  }
}

/// Only what gives a chain back: a ring full of chains is popped, not timed, then pushed one by one.
void add_used_alone(benchmark::State& state, Ring::Shape shape) {
  Ring ring(shape);
  Queue& queue = *ring.queue;
  std::array<std::uint16_t, queue_size> ids{};
  while (state.KeepRunningBatch(queue_size)) {
    ring.offer(queue_size);
    for (auto& id : ids) id = (*queue.pop())->id();
    const auto begin = std::chrono::steady_clock::now();
    for (const auto id : ids) require(queue.push_used(id, 8).has_value());
    state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
}

/// What the peer's add_used does, by its source: the bound, the place by a remainder of the ring's size, the element,
/// two counters in its queue, a release fence and the index.
struct Peer {
  std::byte* used;
  std::uint16_t size;
  std::uint16_t next = 0;
  std::uint16_t added = 0;

  bool add_used(std::uint16_t id, std::uint32_t written) {
    if (size <= id) return false;
    std::byte* element = used + 4 + std::size_t{8} * (next % size);
    store_at<std::uint32_t>(element, id);
    store_at<std::uint32_t>(element + 4, written);
    ++added;
    ++next;
    std::atomic_thread_fence(std::memory_order_release);
    store_at<std::uint16_t>(used + 2, next);
    return true;
  }
};

void add_used_peer(benchmark::State& state) {
  Ring ring({1});
  Peer peer{ring.used, queue_size};
  while (state.KeepRunningBatch(queue_size)) {
    std::array<std::uint16_t, queue_size> ids{};
    for (std::uint16_t i = 0; i < queue_size; ++i) ids[i] = i;
    benchmark::DoNotOptimize(ids.data());
    const auto begin = std::chrono::steady_clock::now();
    benchmark::DoNotOptimize(&peer);
    for (const auto id : ids) require(peer.add_used(id, 8));
    state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
}

void add_pair(test::FloorReport& report, const std::string& name, double bar, auto ours, auto floor) {
  benchmark::RegisterBenchmark(name.c_str(), ours);
  benchmark::RegisterBenchmark((name + "/floor").c_str(), floor);
  report.bar(name, bar);
}

void add_walks(test::FloorReport& report) {
  constexpr std::pair<std::size_t, double> rows[] = {{1, 2.0}, {4, 1.3}, {16, 1.1}, {256, 1.05}};
  for (const auto& [length, bar] : rows) {
    const Ring::Shape shape{length};
    add_pair(
        report, "pop and walk a chain of " + std::to_string(length), bar, [=](auto& s) { pop_and_walk(s, shape); },
        [=](auto& s) { pop_and_walk_floor(s, shape); });
  }
  benchmark::RegisterBenchmark("pop and walk, indirect, 16", [](auto& s) { pop_and_walk(s, {16, true}); });
  report.bar("pop and walk, indirect, 16", 1.2, "pop and walk a chain of 16");
}

void add_cycles(test::FloorReport& report) {
  const auto walk = [](const Chain& chain, std::uint64_t& sum) { return walk_and_touch(chain, sum); };
  const auto pair = [&](const char* name, double bar, Ring::Shape shape, std::uint16_t batch) {
    add_pair(
        report, name, bar, [=](auto& s) { cycle(s, shape, batch, walk); },
        [=](auto& s) { cycle_floor(s, shape, batch); });
  };
  pair("whole cycle", 2.0, {2, false, 0}, 1);
  pair("whole cycle, EVENT_IDX", 2.0, {2}, 1);
  pair("whole cycle, EVENT_IDX, batch of 32", 1.5, {2}, 32);
  const auto variant = [&](const char* name, double bar, Ring::Shape shape) {
    benchmark::RegisterBenchmark(name, [=](auto& s) { cycle(s, shape, 1, walk); });
    report.bar(name, bar, "whole cycle, EVENT_IDX");
  };
  variant("whole cycle, EVENT_IDX, dirty tracking", 1.5, {2, false, Driver::all_features, true});
  variant("whole cycle, EVENT_IDX, 2 regions", 1.1, {2, false, Driver::all_features, false, 2});
  variant("whole cycle, EVENT_IDX, 16 regions", 1.1, {2, false, Driver::all_features, false, 16});
  // Any layout costs a second walk. The table has a bar for Reader and Writer (chain_bench.cpp) and none for these.
  const auto any_layout = [&](const char* name, std::uint16_t batch, const char* floor) {
    benchmark::RegisterBenchmark(name, [=](auto& s) {
      cycle(s, {2}, batch, [](const Chain& chain, std::uint64_t& sum) { return read_and_write(chain, sum); });
    });
    report.bar(name, 0, floor);
  };
  any_layout("... by Reader and Writer", 1, "whole cycle, EVENT_IDX/floor");
  any_layout("... by Reader and Writer, batch of 32", 32, "whole cycle, EVENT_IDX, batch of 32/floor");
}

void add_gives(test::FloorReport& report) {
  const std::string name = "add used (beside the peer's way)";
  benchmark::RegisterBenchmark(name.c_str(), [](auto& s) { add_used_alone(s, {1}); })->UseManualTime();
  benchmark::RegisterBenchmark((name + "/floor").c_str(), add_used_peer)->UseManualTime();
  report.bar(name, 1.0);
  benchmark::RegisterBenchmark("add used, dirty tracking", [](auto& s) {
    add_used_alone(s, {1, false, Driver::all_features, true});
  })->UseManualTime();
  report.bar("add used, dirty tracking", 1.5, name);
}

}  // namespace

int main(int argc, char** argv) {
  test::FloorReport report;
  add_walks(report);
  add_cycles(report);
  add_pair(
      report, "pop and add used", 0, [](auto& s) { add_used(s, {1}); }, [](auto& s) { add_used_floor(s, {1}); });
  benchmark::RegisterBenchmark("pop and add used, dirty tracking", [](auto& s) {
    add_used(s, {1, false, Driver::all_features, true});
  });
  report.bar("pop and add used, dirty tracking", 1.5, "pop and add used");
  add_gives(report);
  return test::run_with_floor(argc, argv, report);
}
