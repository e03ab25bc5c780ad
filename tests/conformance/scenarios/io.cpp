// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Port and memory accesses: the trace is exact.
#include "scenarios.hpp"

namespace conformance {
namespace {

using namespace trivet_guest;

Outcome run_and_match(trivet::Hypervisor& hypervisor, const char* name, const std::vector<Expected>& wanted) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, name));
  CONFORM_STEP(machine->finish());
  return match_trace(machine->bus().take_trace(), wanted);
}

// Little-endian value of `size` consecutive bytes that count up from `first`.
std::uint64_t rising(std::uint64_t first, std::uint32_t size) {
  std::uint64_t value = 0;
  for (std::uint32_t i = 0; i < size; ++i) value |= ((first + i) & 0xff) << (8 * i);
  return value;
}

}  // namespace

Outcome port_io(trivet::Hypervisor& hypervisor) {
  std::vector<Expected> wanted;
  for (const std::uint32_t offset : {8u, 13u}) {
    for (const std::uint32_t size : {1u, 2u, 4u}) {
      wanted.push_back(port_in(port_window + offset, size, pattern(offset, size)));
    }
  }
  wanted.push_back(port_out(port_window + 1, 1, 0x11));
  wanted.push_back(port_out(port_window + 2, 2, 0x2233));
  wanted.push_back(port_out(port_window + 4, 4, 0x44556677));
  wanted.push_back(port_out(port_window + 3, 2, 0x8899));
  wanted.push_back(port_out(port_window + 5, 4, 0xaabbccdd));
  return run_and_match(hypervisor, "port_io", wanted);
}

Outcome port_string(trivet::Hypervisor& hypervisor) {
  std::vector<Expected> wanted;
  const auto outs = [&](std::uint64_t first, std::uint32_t size, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i)
      wanted.push_back(port_out(port_window, size, rising(first + i * size, size)));
  };
  outs(0x80, 1, 7);
  outs(0x81, 2, 5);
  outs(0x83, 4, 3);
  outs(0x80 + 40, 4, 1);
  for (const std::uint64_t value : {0xb2u, 0xb1u, 0xb0u}) wanted.push_back(port_out(port_window, 1, value));
  std::uint64_t next = 0;
  const auto ins = [&](std::uint32_t size, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i, next += size)
      wanted.push_back(port_in(port_window + 0x20, size, rising(next, size)));
  };
  ins(1, 17);
  ins(2, 5);
  ins(4, 3);
  return run_and_match(hypervisor, "port_string", wanted);
}

Outcome memory_io(trivet::Hypervisor& hypervisor) {
  std::vector<Expected> wanted;
  const auto loads = [&](std::uint64_t offset, std::initializer_list<std::uint32_t> sizes) {
    for (const auto size : sizes) wanted.push_back(load(mmio_window + offset, size, pattern(offset, size)));
  };
  loads(0x100, {1, 2, 4, 8});
  loads(0x103, {1, 2, 4, 8});
  loads(0x110, {1, 1, 2, 2, 4});
  loads(0x11a, {1, 1, 2, 2, 4});
  wanted.push_back(store(mmio_window + 0x201, 1, 0x11));
  wanted.push_back(store(mmio_window + 0x202, 2, 0x2233));
  wanted.push_back(store(mmio_window + 0x204, 4, 0x44556677));
  wanted.push_back(store(mmio_window + 0x208, 8, 0x8899aabbccddeeff));
  wanted.push_back(store(mmio_window + 0x213, 2, 0x1234));
  wanted.push_back(store(mmio_window + 0x219, 4, 0x56789abc));
  wanted.push_back(store(mmio_window + 0x223, 8, 0xdef0123456789abc));
  wanted.push_back(store(mmio_window + 0x230, 4, 0x13572468));
  wanted.push_back(store(mmio_window + 0x238, 8, ~std::uint64_t{1}));
  wanted.push_back(load(mmio_window + 0x208, 8, 0x8899aabbccddeeff));
  wanted.push_back(load(mmio_window + 0x223, 8, 0xdef0123456789abc));
  return run_and_match(hypervisor, "memory_io", wanted);
}

Outcome memory_string(trivet::Hypervisor& hypervisor) {
  std::vector<Expected> wanted;
  const auto stores = [&](std::uint64_t offset, std::uint64_t first, std::uint32_t size, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      wanted.push_back(store(mmio_window + offset + std::uint64_t{i} * size, size, rising(first + i * size, size)));
    }
  };
  const auto loads = [&](std::uint64_t offset, std::uint32_t size, std::uint32_t count) {
    for (std::uint64_t at = offset; at < offset + std::uint64_t{size} * count; at += size) {
      wanted.push_back(load(mmio_window + at, size, pattern(at, size)));
    }
  };
  stores(0x800, 0x40, 1, 5);
  stores(0x810, 0x48, 2, 3);
  stores(0x820, 0x50, 4, 3);
  stores(0x840, 0x60, 8, 2);
  loads(0x400, 1, 5);
  loads(0x410, 2, 3);
  loads(0x420, 4, 3);
  loads(0x440, 8, 2);
  for (const std::uint64_t offset : {0x900u, 0x904u, 0x908u})
    wanted.push_back(store(mmio_window + offset, 4, 0xcafef00d));
  loads(0x450, 2, 1);
  wanted.push_back(store(mmio_window + 0x91c, 4, rising(0x4c, 4)));
  wanted.push_back(store(mmio_window + 0x918, 4, rising(0x48, 4)));
  return run_and_match(hypervisor, "memory_string", wanted);
}

namespace {

// A compare-and-exchange that finds another value writes the old one back, or does not: nobody can tell but by its bus
// cycles, and Xen's emulator leaves it out. Put in where it is missing.
void complete_failed_exchange(std::vector<Access>& trace, std::size_t instruction) {
  const std::size_t write = 4 * instruction + 2;
  if (trace.size() <= write || trace[write].kind != AccessKind::load) return;
  auto written = trace[write - 1];
  written.kind = AccessKind::store;
  trace.insert(trace.begin() + static_cast<std::ptrdiff_t>(write), written);
}

}  // namespace

// Every modifying instruction reads once and writes once; the guest has compared values and flags with RAM.
Outcome memory_modify(trivet::Hypervisor& hypervisor) {
  constexpr std::uint64_t at = mmio_window + 0xa00;
  constexpr std::size_t instructions = 20;
  constexpr std::size_t failed_exchange = 18;
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "memory_modify"));
  CONFORM_STEP(machine->reach(1));
  auto trace = machine->bus().take_trace();
  complete_failed_exchange(trace, failed_exchange);
  CONFORM(trace.size() == 4 * instructions, "{} accesses for {} instructions", trace.size(), instructions);
  for (std::size_t i = 0; i < trace.size(); ++i) {
    // set by the guest; read and written by the instruction; read by the guest
    const bool writes = i % 4 == 0 || i % 4 == 2;
    const std::uint32_t size = i / 4 == 16 && (i % 4 == 1 || i % 4 == 2) ? 1 : 4;  // the one byte-wide instruction
    const auto& access = trace[i];
    CONFORM(access.at == at && access.size == size && access.kind == (writes ? AccessKind::store : AccessKind::load),
            "access {} of instruction {} was \"{}\"", i % 4, i / 4, to_string(access));
    if (i % 4 == 1) CONFORM(access.value == (trace[i - 1].value & (size == 1 ? 0xff : ~0u)), "instruction {}", i / 4);
    if (i % 4 == 2 && size == 4) CONFORM(access.value == trace[i + 1].value, "instruction {}", i / 4);
  }
  CONFORM_STEP(machine->finish());
  return match_trace(machine->bus().take_trace(), {load(at, 4, 9), load(at, 4, 9)});
}

Outcome page_crossing(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "page_crossing"));
  CONFORM_ASSIGN(const auto region, machine->map({{moving_region}, region_size}));
  CONFORM_OK(machine->claim({{moving_region - 0x1000}, 0x1000}));
  CONFORM_OK(machine->claim({{moving_region + region_size}, 0x1000}));
  CONFORM_STEP(machine->reach(1));
  const std::uint64_t edge = mmio_window + 0x1000;
  CONFORM_STEP(
      match_trace(machine->bus().take_trace(),
                  {store(edge - 4, 8, 0x1122334455667788), store(edge - 1, 4, 0xaabbccdd), store(edge - 1, 2, 0x5a5b),
                   load(edge - 4, 8, 0x11aabb5a5b667788), load(edge - 2, 4, 0xbb5a5b66), load(edge - 1, 2, 0x5a5b)}));
  CONFORM_STEP(machine->finish());
  const std::uint64_t top = moving_region + region_size;
  // Only the part outside the region comes here.
  CONFORM_STEP(match_trace(machine->bus().take_trace(),
                           {store(top, 4, 0x99aabbcc), load(top, 4, 0xffffffff), store(moving_region - 2, 2, 0x0304),
                            load(moving_region - 2, 2, 0xffff)}));
  const std::array<std::byte, 4> wanted{std::byte{0x00}, std::byte{0xff}, std::byte{0xee}, std::byte{0xdd}};
  CONFORM(std::equal(wanted.begin(), wanted.end(), region.host + region_size - 4), "RAM below the edge");
  CONFORM(region.host[0] == std::byte{0x02} && region.host[1] == std::byte{0x01}, "RAM above the edge");
  return passed();
}

// Reads give ones and all are counted; where they never leave the hypervisor nothing is seen.
Outcome holes(trivet::Hypervisor& hypervisor) {
  std::vector<Expected> wanted;
  constexpr std::uint64_t ones = ~std::uint64_t{0};
  for (const std::uint64_t at : {mmio_hole, ram_size}) {
    for (const std::uint32_t size : {1u, 2u, 4u, 8u}) wanted.push_back(load(at, size, ones >> (64 - 8 * size)));
    for (const std::uint32_t i : {0u, 1u, 2u, 3u}) wanted.push_back(store(at, 1u << i, i + 1));
    wanted.push_back(load(at, 8, ones));
  }
  for (const std::uint32_t size : {1u, 2u, 4u}) wanted.push_back(port_in(port_hole, size, ones >> (64 - 8 * size)));
  for (const std::uint32_t i : {0u, 1u, 2u}) wanted.push_back(port_out(port_hole, 1u << i, i + 1));
  wanted.push_back(port_in(port_hole, 4, 0xffffffff));
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "holes"));
  CONFORM_STEP(machine->finish());
  if (!machine->holes_come()) wanted.clear();
  CONFORM(machine->bus().hole_count() == wanted.size(), "{} accesses counted", machine->bus().hole_count());
  return match_trace(machine->bus().take_trace(), wanted);
}

}  // namespace conformance
