// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <atomic>
#include <cstdlib>
#include <gtest/gtest.h>
#include <new>
#include <vector>

#include <trivet/vmm/bus.hpp>
#include <trivet/vmm/bus_io.hpp>

namespace {

// Counts what this thread allocates, to hold the bus to P12.
thread_local std::uint64_t allocations = 0;

}  // namespace

// Not inlined: GCC would pair a visible free with a new that it does not see.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  std::abort();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace trivet::vmm {
namespace {

class Recorder final : public BusDevice {
 public:
  void read(std::uint64_t offset, Bytes data) noexcept override {
    last_offset = offset;
    ++reads;
    for (auto& byte : data) byte = std::byte{0x5a};
  }
  void write(std::uint64_t offset, ConstBytes data) noexcept override {
    last_offset = offset;
    last_value = data[0];
    ++writes;
  }
  std::uint64_t last_offset = 0;
  std::byte last_value{};
  int reads = 0;
  int writes = 0;
};

TEST(Bus, FindsTheDeviceThatHoldsAllOfAnAccess) {
  Recorder low, high;
  Bus bus("port", 16);
  ASSERT_TRUE(bus.insert(0x3f8, 8, high, "high"));
  ASSERT_TRUE(bus.insert(0x60, 5, low, "low"));
  ASSERT_NE(bus.find(0x60, 1), nullptr);
  EXPECT_EQ(bus.find(0x60, 1)->device, &low);
  EXPECT_EQ(bus.find(0x3ff, 1)->device, &high);
  EXPECT_EQ(bus.find(0x5f, 1), nullptr);
  EXPECT_EQ(bus.find(0x65, 1), nullptr);
  EXPECT_EQ(bus.find(0x3ff, 2), nullptr) << "the access leaves the device";
  EXPECT_EQ(bus.find(0x60, 0), nullptr);
}

TEST(Bus, AdjacentDevicesDoNotOverlap) {
  Recorder first, second;
  Bus bus("memory", 64);
  EXPECT_TRUE(bus.insert(0x1000, 0x1000, first, "first"));
  EXPECT_TRUE(bus.insert(0x2000, 0x1000, second, "second"));
  EXPECT_EQ(bus.find(0x1fff, 1)->device, &first);
  EXPECT_EQ(bus.find(0x2000, 1)->device, &second);
}

TEST(Bus, RefusesAnOverlapAndNamesBoth) {
  Recorder device;
  Bus bus("memory", 64);
  ASSERT_TRUE(bus.insert(0x1000, 0x1000, device, "disk"));
  for (const auto& [first, size] :
       {std::pair<std::uint64_t, std::uint64_t>{0x1fff, 1}, {0x800, 0x801}, {0x1800, 8}, {0, 0x10000}}) {
    const auto result = bus.insert(first, size, device, "net");
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), Errc::already_exists);
    EXPECT_NE(to_string(result.error()).find("disk"), std::string::npos);
    EXPECT_NE(to_string(result.error()).find("net"), std::string::npos);
  }
  EXPECT_EQ(bus.entries().size(), 1u);
}

TEST(Bus, RefusesWhatLeavesTheSpace) {
  Recorder device;
  Bus ports("port", 16);
  EXPECT_EQ(ports.insert(0xffff, 2, device, "x").error().code(), Errc::out_of_range);
  EXPECT_EQ(ports.insert(0x10000, 1, device, "x").error().code(), Errc::out_of_range);
  EXPECT_EQ(ports.insert(0x10, 0, device, "x").error().code(), Errc::out_of_range);
  EXPECT_TRUE(ports.insert(0xffff, 1, device, "last"));
  Bus memory("memory", 64);
  EXPECT_EQ(memory.insert(~std::uint64_t{0}, 2, device, "x").error().code(), Errc::out_of_range);
  EXPECT_TRUE(memory.insert(~std::uint64_t{0}, 1, device, "last"));
  EXPECT_NE(memory.find(~std::uint64_t{0}, 1), nullptr);
  EXPECT_EQ(memory.find(~std::uint64_t{0}, 2), nullptr);
}

TEST(Bus, IsImmutableOnceSealed) {
  Recorder device;
  Bus bus("port", 16);
  bus.seal();
  EXPECT_EQ(bus.insert(1, 1, device, "late").error().code(), Errc::bad_state);
}

TEST(BusIo, GivesDevicesTheirOffsets) {
  Recorder port, window;
  Bus ports("port", 16), memory("memory", 64);
  ASSERT_TRUE(ports.insert(0x3f8, 8, port, "serial"));
  ASSERT_TRUE(memory.insert(0xd0000000, 0x1000, window, "window"));
  BusIo io({ports, memory});
  std::array<std::byte, 4> data{};
  io.pio_read(0x3fd, Bytes(data).first(1));
  EXPECT_EQ(port.last_offset, 5u);
  EXPECT_EQ(data[0], std::byte{0x5a});
  data[0] = std::byte{7};
  io.mmio_write({0xd0000050}, data, Posted::yes);
  EXPECT_EQ(window.last_offset, 0x50u);
  EXPECT_EQ(window.last_value, std::byte{7});
  EXPECT_EQ(io.accesses(), 2u);
  EXPECT_EQ(io.unclaimed(), 0u);
}

TEST(BusIo, UnclaimedReadsAllOnesAndIsCounted) {
  Bus ports("port", 16), memory("memory", 64);
  BusIo io({ports, memory});
  std::array<std::byte, 8> data{};
  io.mmio_read({0xdead0000}, data);
  for (const auto byte : data) EXPECT_EQ(byte, std::byte{0xff});
  io.pio_write(0x80, ConstBytes(data).first(1));
  EXPECT_EQ(io.accesses(), 2u);
  EXPECT_EQ(io.unclaimed(), 2u);
}

TEST(BusIo, AllocatesNothing) {
  std::vector<Recorder> devices(32);
  Bus ports("port", 16), memory("memory", 64);
  for (std::size_t i = 0; i < devices.size(); ++i) {
    ASSERT_TRUE(memory.insert(0xd0000000 + i * 0x1000, 0x1000, devices[i], "device"));
  }
  ports.seal();
  memory.seal();
  BusIo io({ports, memory});
  std::array<std::byte, 4> data{};
  const auto before = allocations;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    io.mmio_read({0xd0000000 + i % 40 * 0x1000}, data);
    io.mmio_write({0xd0000000 + i % 40 * 0x1000}, data, Posted::no);
    io.pio_write(static_cast<std::uint16_t>(i), Bytes(data).first(1));
  }
  EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace trivet::vmm
