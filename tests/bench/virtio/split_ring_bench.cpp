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

/// Pop, read a 16-byte header, touch the data, add used, ask for the notification; `batch` chains a round, per chain.
void cycle(benchmark::State& state, Ring::Shape shape, std::uint16_t batch) {
  Ring ring(shape);
  Queue& queue = *ring.queue;
  std::uint64_t sum = 0;
  while (state.KeepRunningBatch(batch)) {
    ring.offer(batch);
    for (std::uint16_t i = 0; i < batch; ++i) {
      const auto chain = queue.pop();
      require(chain.has_value() && chain->has_value());
      auto buffers = Buffers::create(**chain);
      require(buffers.has_value());
      const auto header = buffers->reader.read_object<Header>();
      require(header.has_value());
      sum += header->a;
      require(buffers->writer.write_object<std::uint64_t>(sum).has_value());
      require(queue.stage_used((*chain)->id(), buffers->writer.written()).has_value());
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
  const auto pair = [&](const char* name, double bar, Ring::Shape shape, std::uint16_t batch) {
    add_pair(
        report, name, bar, [=](auto& s) { cycle(s, shape, batch); }, [=](auto& s) { cycle_floor(s, shape, batch); });
  };
  pair("whole cycle", 2.0, {2, false, 0}, 1);
  pair("whole cycle, EVENT_IDX", 2.0, {2}, 1);
  pair("whole cycle, EVENT_IDX, batch of 32", 1.5, {2}, 32);
  const auto variant = [&](const char* name, double bar, Ring::Shape shape) {
    benchmark::RegisterBenchmark(name, [=](auto& s) { cycle(s, shape, 1); });
    report.bar(name, bar, "whole cycle, EVENT_IDX");
  };
  variant("whole cycle, EVENT_IDX, dirty tracking", 1.5, {2, false, Driver::all_features, true});
  variant("whole cycle, EVENT_IDX, 2 regions", 1.1, {2, false, Driver::all_features, false, 2});
  variant("whole cycle, EVENT_IDX, 16 regions", 1.1, {2, false, Driver::all_features, false, 16});
}

/// Its bar: the peer's 2.1 ns by the table's floor of a chain of 1, times that floor as measured here.
void add_gives(test::FloorReport& report) {
  const std::string name = "add used (peer: 2.1 by a floor of 2.3)";
  benchmark::RegisterBenchmark(name.c_str(), [](auto& s) { add_used_alone(s, {1}); })->UseManualTime();
  report.bar(name, 2.1 / 2.3, "pop and walk a chain of 1/floor");
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
