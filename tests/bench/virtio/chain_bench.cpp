// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What devices do with a chain. The bars are peers' figures: what PERFORMANCE's table gives for the peer, by the floor
// that it gives for the same kind of operation, times that floor as measured here. A program of its own: what is
// inlined where depends on how often it is used.

#include <array>

#include <trivet/virtio/abi/vsock.hpp>
#include <trivet/virtio/buffers.hpp>

#include "block_request.hpp"
#include "split_ring_rows.hpp"

namespace {

using namespace trivet;
using namespace trivet::bench;

/// A chain popped and its bytes parsed by `parse`; the ring goes round.
template <class Parse>
void pop_and_parse(benchmark::State& state, Ring::Shape shape, Parse parse) {
  Ring ring(shape);
  Queue& queue = *ring.queue;
  ring.offer(ring.chains);
  std::uint16_t taken = 0;
  for (auto _ : state) {
    const auto popped = queue.pop();
    require(popped.has_value() && popped->has_value());
    parse(**popped);
    if (++taken == ring.chains) {
      require(queue.go_back(ring.chains).has_value());
      taken = 0;
    }
  }
}

/// All readable bytes read, all writable ones written.
void read_and_write(const Chain& chain) {
  auto buffers = Buffers::create(chain);
  require(buffers.has_value());
  static std::array<std::byte, 64> bytes;
  require(buffers->reader.read(std::span(bytes).first(buffers->reader.left())).has_value());
  require(buffers->writer.write(std::span(bytes).first(buffers->writer.left())).has_value());
}

void parse_block(const Chain& chain) {
  const auto parts = BlockParts::parse(chain);
  require(parts.has_value());
  benchmark::DoNotOptimize(parts->sector);
}

void parse_vsock(const Chain& chain) {
  auto buffers = Buffers::create(chain);
  require(buffers.has_value());
  const auto header = buffers->reader.read_object<abi::VsockHeader>();
  require(header.has_value());
  benchmark::DoNotOptimize(header->dst_port);
}

void add(test::FloorReport& report, const char* name, double bar, std::size_t floor_length, auto ours) {
  const std::string floor = "pop and walk a chain of " + std::to_string(floor_length) + "/floor";
  benchmark::RegisterBenchmark(name, ours);
  report.bar(name, bar, floor);
}

}  // namespace

int main(int argc, char** argv) {
  test::FloorReport report;
  for (const std::size_t length : {1, 3, 4}) {
    benchmark::RegisterBenchmark(("pop and walk a chain of " + std::to_string(length) + "/floor").c_str(),
                                 [=](auto& s) { pop_and_walk_floor(s, {length}); });
  }
  // Lambdas: what a device does with a chain is inlined where it pops.
  add(report, "Reader, Writer, 4 (a quarter of 265 by 7.2)", 0.25 * 265 / 7.2, 4, [](auto& s) {
    pop_and_parse(s, {4, false, Driver::all_features, false, 1, 16}, [](const Chain& chain) { read_and_write(chain); });
  });
  // The table has no floor of a chain of 3: between those of 1 and 4, by length.
  add(report, "block request (peer: 38 by 5.6)", 38 / 5.6, 3,
      [](auto& s) { pop_and_parse(s, {3}, [](const Chain& chain) { parse_block(chain); }); });
  add(report, "vsock packet (0.3 of 62 by 2.3)", 0.3 * 62 / 2.3, 1, [](auto& s) {
    pop_and_parse(s, {1, false, Driver::all_features, false, 1, 44}, [](const Chain& chain) { parse_vsock(chain); });
  });
  return test::run_with_floor(argc, argv, report);
}
