// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A full split ring and the floor's walk of it, for the benches of what stands on it.
#pragma once

#include <benchmark/benchmark.h>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <trivet/memory/access.hpp>
#include <trivet/memory/mapping.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/test/driver.hpp>
#include <trivet/test/floor_report.hpp>
#include <trivet/test/require.hpp>
#include <trivet/virtio/queue.hpp>

namespace trivet::bench {

using namespace trivet::virtio;
using memory::load_at;
using memory::load_unaligned_at;
using memory::store_at;
using test::Driver;
using test::require;
using test::TestGuest;

constexpr std::uint16_t queue_size = 256;
constexpr std::uint16_t mask = queue_size - 1;

/// A full ring of equal chains. The driver then only moves its index on: the same chains are available again.
struct Ring {
  struct Shape {
    std::size_t length = 1;
    bool indirect = false;
    std::uint64_t features = Driver::all_features;
    bool track_dirty = false;
    std::size_t regions = 1;
    std::uint32_t bytes = 0;  // of each buffer; 0: 16 to read, 512 to write
  };

  explicit Ring(const Shape& shape)
      : guest(TestGuest::default_size, {0}, shape.track_dirty), driver(guest, queue_size, shape.features) {
    for (std::size_t i = 1; i < shape.regions; ++i) {
      const std::uint64_t at = (std::uint64_t{1} << 32) + i * (std::uint64_t{1} << 20);
      require(guest.map()->insert(*memory::Region::create({at}, *memory::Mapping::anonymous(1 << 16))).has_value());
    }
    std::vector<Driver::Buffer> buffers;
    for (std::size_t i = 0; i < shape.length; ++i) {
      const bool writable = i != 0;
      const std::uint32_t bytes = shape.bytes != 0 ? shape.bytes : writable ? 512U : 16U;
      buffers.push_back({guest.allocate(512), bytes, writable});
    }
    // As many indirect chains as direct ones fit: the tables are no larger than the ring, and what is compared is the
    // walk, not the cache.
    const auto most = queue_size / shape.length;
    while (chains < most && (shape.indirect ? driver.add_indirect(buffers) : driver.add(buffers))) ++chains;
    // Where fewer chains than entries fit, the ring repeats them.
    for (std::uint16_t i = chains; i < queue_size; ++i) {
      driver.set_available_entry(
          i, static_cast<std::uint16_t>(i % chains * (shape.indirect ? 1 : shape.length) % queue_size));
    }
    queue = std::make_unique<Queue>(driver.queue());
    const auto host = [&](GuestAddress at) { return guest.memory().slice({at, 1}, memory::Permission::write)->host(); };
    base = guest.memory().regions()[0]->host();
    size = TestGuest::default_size;
    descriptors = host(driver.descriptor_area());
    avail = host(driver.driver_area());
    used = host(driver.device_area());
  }

  /// The driver's part of each round, in ours and in the floor: `count` more chains.
  void offer(std::uint16_t count) {
    offered = static_cast<std::uint16_t>(offered + count);
    store_at<std::uint16_t>(avail + 2, offered, std::memory_order_release);
  }

  TestGuest guest;
  Driver driver;
  std::uint16_t chains = 0;
  std::unique_ptr<Queue> queue;
  std::uint16_t offered = 0;
  std::byte* base;
  std::uint64_t size;
  const std::byte* descriptors;
  std::byte* avail;
  std::byte* used;
};

/// The floor's walk: what 2.7.5 makes necessary; indirect not needed for the direct rows.
template <class Visit>
bool floor_walk(const std::byte* table, std::uint32_t entries, std::uint16_t head, Visit visit) {
  std::uint64_t total = 0;
  std::uint16_t index = head;
  for (std::uint32_t left = queue_size; left != 0; --left) {
    if (index >= entries) return false;
    const std::byte* at = table + std::size_t{16} * index;
    const auto address = load_unaligned_at<std::uint64_t>(at);
    const auto rest = load_unaligned_at<std::uint64_t>(at + 8);
    const auto flags = static_cast<std::uint16_t>(rest >> 32);
    if ((flags & abi::desc_f_indirect) != 0) return false;
    total += static_cast<std::uint32_t>(rest);
    if (total > std::uint64_t{1} << 32) return false;
    if (!visit(address, static_cast<std::uint32_t>(rest), (flags & abi::desc_f_write) != 0)) return false;
    if ((flags & abi::desc_f_next) == 0) return true;
    index = static_cast<std::uint16_t>(rest >> 48);
  }
  return false;
}

inline void pop_and_walk_floor(benchmark::State& state, Ring::Shape shape) {
  Ring ring(shape);
  const std::uint16_t batch = ring.chains;
  ring.offer(batch);
  std::uint16_t next = 0;
  std::uint16_t known = load_at<std::uint16_t>(ring.avail + 2, std::memory_order_acquire);
  for (auto _ : state) {
    if (next == known) std::abort();
    const auto head = load_at<std::uint16_t>(ring.avail + 4 + std::size_t{2} * (next & mask));
    ++next;
    std::uint64_t bytes = 0;
    require(floor_walk(ring.descriptors, queue_size, head, [&](std::uint64_t address, std::uint32_t length, bool) {
      bytes += length + address;
      return true;
    }));
    benchmark::DoNotOptimize(bytes);
    if (next == batch) next = 0;
  }
}

}  // namespace trivet::bench
