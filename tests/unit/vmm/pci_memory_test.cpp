// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Memory in BARs: where the PCI host has it mapped into the guest.
#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>

#include <trivet/memory/memory_map.hpp>
#include <trivet/test/sharing_device.hpp>
#include <trivet/test/table_vm.hpp>
#include <trivet/test/test_router.hpp>
#include <trivet/virtio/pci_transport.hpp>
#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/pci_host.hpp>

namespace trivet::vmm {
namespace {

namespace reg = pci::reg;
using Entries = std::vector<test::TableVm::Entry>;

constexpr std::uint64_t page = 4096;
constexpr GuestRange high{{0x1'0000'0000}, std::uint64_t{1} << 32};
constexpr std::uint64_t low = layout::pci_memory.start.value;

/// Two functions: each has 0x8000 bytes of registers and, in a BAR of 4 pages, two regions of 1 and 2 pages.
class PciMemoryTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t bar_size = 4 * page;

  void SetUp() override {
    host = *PciHost::create(layout::pci_ecam, layout::pci_memory, high);
    host->map_through(vm);
    attach(1);
    attach(2);
  }

  void attach(std::uint8_t device) {
    auto made = make(2 * page);
    ASSERT_TRUE(made) << to_string(made.error());
    functions.push_back(std::move(*made));
    const auto attached = host->attach({0, 0, device, 0}, *functions.back(), "sharing");
    ASSERT_TRUE(attached) << to_string(attached.error());
  }
  Result<std::unique_ptr<virtio::PciTransport>> make(std::uint64_t second) {
    auto device = std::make_unique<test::SharingDevice>(std::vector<virtio::SharedMemory>{
        {.id = 1, .length = page, .host = bytes.data()}, {.id = 2, .length = second, .host = bytes.data() + page}});
    return virtio::PciTransport::create(std::move(device),
                                        {.memory = memory, .executor = loop.get_executor(), .router = &router});
  }
  template <class T>
  T space(unsigned device, unsigned offset) {
    T value{};
    host->read({0, 0, static_cast<std::uint8_t>(device), 0}, static_cast<std::uint16_t>(offset),
               std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <class T>
  void set_space(unsigned device, unsigned offset, T value) {
    host->write({0, 0, static_cast<std::uint8_t>(device), 0}, static_cast<std::uint16_t>(offset),
                std::as_bytes(std::span(&value, 1)));
  }
  void move(unsigned device, std::uint64_t at) {
    set_space(device, reg::bar0 + 8, static_cast<std::uint32_t>(at));
    set_space(device, reg::bar0 + 12, static_cast<std::uint32_t>(at >> 32));
  }
  void decode(unsigned device, bool on) {
    set_space<std::uint16_t>(device, reg::command, on ? reg::command_memory : std::uint16_t{0});
  }
  [[nodiscard]] std::uint64_t place(unsigned device) {
    return (space<std::uint32_t>(device, reg::bar0 + 8) & ~0xfU) |
           std::uint64_t{space<std::uint32_t>(device, reg::bar0 + 12)} << 32;
  }
  /// What is mapped when those functions have their memory in the guest.
  Entries entries(std::initializer_list<std::uint64_t> places) {
    Entries all;
    for (const auto at : places) {
      all.push_back({{{at}, page}, bytes.data()});
      all.push_back({{{at + page}, 2 * page}, bytes.data() + page});
    }
    return all;
  }
  template <class T = std::uint32_t>
  T access(BusDevice& window, std::uint64_t offset) {
    T value{};
    window.read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

  boost::asio::io_context loop{1};
  std::shared_ptr<memory::MemoryMap> memory = std::make_shared<memory::MemoryMap>();
  test::TestRouter router;
  memory::Mapping bytes = *memory::Mapping::anonymous(std::uint64_t{1} << 28);
  test::TableVm vm;
  std::unique_ptr<PciHost> host;
  std::vector<std::unique_ptr<virtio::PciTransport>> functions;
};

TEST_F(PciMemoryTest, IsInTheGuestWhereTheBarIs) {
  EXPECT_TRUE(layout::pci_memory.contains({place(1)}, bar_size)) << "below 4 GiB while there is room";
  EXPECT_EQ(vm.mapped(), entries({place(1), place(2)}));
}

TEST_F(PciMemoryTest, WhatHasNoRoomBelowGoesAbove) {
  auto large = *make(std::uint64_t{1} << 27);
  ASSERT_TRUE(host->attach({0, 0, 3, 0}, *large, "large"));
  EXPECT_EQ(place(3), high.start.value);
  ASSERT_EQ(vm.mapped().size(), 6U);
  EXPECT_EQ(vm.mapped()[4].range.start.value, high.start.value);
  *bytes.data() = std::byte{0x5a};
  EXPECT_EQ(access<std::uint8_t>(host->high_window(), 0), 0x5a) << "accesses reach it, too";
  host->detach(*large);
  EXPECT_EQ(vm.mapped().size(), 4U);
  EXPECT_EQ(space<std::uint32_t>(3, 0), 0xffffffffU) << "nor is the function there";

  host = *PciHost::create(layout::pci_ecam, layout::pci_memory);
  host->map_through(vm);
  EXPECT_EQ(host->attach({0, 0, 3, 0}, *large, "large").error().code(), Errc::limit) << "without room above";
}

TEST_F(PciMemoryTest, FollowsTheBarAndItsDecoding) {
  const auto other = place(2);
  decode(1, false);
  EXPECT_EQ(vm.mapped(), entries({other}));
  move(1, low + 0x10'0000);
  EXPECT_EQ(vm.mapped(), entries({other})) << "not decoded yet";
  decode(1, true);
  EXPECT_EQ(vm.mapped(), entries({other, low + 0x10'0000}));
  move(1, high.start.value + 0x8000'0000);
  EXPECT_EQ(vm.mapped(), entries({other, high.start.value + 0x8000'0000}));
  const auto before = vm.changes;
  set_space<std::uint32_t>(1, reg::bar0, static_cast<std::uint32_t>(low + 0x20'0000));
  set_space<std::uint8_t>(1, 0x3c, 1);
  EXPECT_EQ(vm.changes, before) << "not for what has nothing to do with it";
}

TEST_F(PciMemoryTest, OutsideTheWindowsItIsNowhere) {
  const auto other = place(2);
  for (const std::uint64_t at :
       {std::uint64_t{0}, std::uint64_t{0x10'0000}, low - bar_size, low + layout::pci_memory.size,
        layout::pci_ecam.start.value, std::uint64_t{0xfee0'0000}, high.start.value + high.size,
        ~std::uint64_t{0} & ~(bar_size - 1)}) {
    move(1, at);
    EXPECT_EQ(vm.mapped(), entries({other})) << at;
  }
  move(1, low + 0x10'0000);
  EXPECT_EQ(vm.mapped(), entries({other, low + 0x10'0000}));
}

TEST_F(PciMemoryTest, OnAnotherBarNeitherIsMappedAndTheFirstAnswers) {
  const auto first = place(1), second = low + 0x10'0000;
  *bytes.data() = std::byte{0x77};
  move(2, first);
  EXPECT_TRUE(vm.mapped().empty()) << "of two memories";
  EXPECT_EQ(access<std::uint8_t>(host->window(), first - low), 0x77);
  move(2, second);
  EXPECT_EQ(vm.mapped(), entries({first, second}));
  set_space(2, reg::bar0, static_cast<std::uint32_t>(first));
  EXPECT_EQ(vm.mapped(), entries({second})) << "of memory and registers";
  EXPECT_EQ(access<std::uint8_t>(host->window(), first - low), 0x77) << "attached first";
  decode(2, false);
  EXPECT_EQ(vm.mapped(), entries({first}));
}

TEST_F(PciMemoryTest, WhatCannotBeMappedIsAnErrorAtFirstAndThenTrapped) {
  *bytes.data() = std::byte{0x42};
  move(1, 0);
  vm.most = 3;
  move(1, low + 0x10'0000);
  EXPECT_EQ(vm.mapped(), entries({place(2)})) << "nothing of it rather than half";
  EXPECT_EQ(access<std::uint8_t>(host->window(), 0x10'0000), 0x42);
  const auto third = *make(page);
  const auto attached = host->attach({0, 0, 3, 0}, *third, "third");
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().code(), Errc::limit);
  EXPECT_NE(to_string(attached.error()).find("third: BAR 2"), std::string::npos) << to_string(attached.error());
}

TEST_F(PciMemoryTest, WithFirmwareItIsWhereFirmwarePutsIt) {
  for (auto& function : functions) host->detach(*function);
  EXPECT_TRUE(vm.mapped().empty());
  host = *PciHost::create_for_firmware(layout::firmware_pci_ecam, layout::firmware_pci_memory, high);
  host->map_through(vm);
  ASSERT_TRUE(host->attach({0, 0, 2, 0}, *functions[0], "sharing"));
  EXPECT_TRUE(vm.mapped().empty());
  move(2, 0xc000'0000);
  decode(2, true);
  EXPECT_EQ(vm.mapped(), entries({0xc000'0000}));
  move(2, high.start.value);
  EXPECT_EQ(vm.mapped(), entries({high.start.value}));
}

TEST_F(PciMemoryTest, BarsMoveFromSeveralThreads) {
  std::atomic<int> ready{0};
  const auto mover = [&](unsigned device, unsigned seed) {
    ++ready;
    while (ready != 2) std::this_thread::yield();
    for (unsigned i = 0; i < 2000; ++i) {
      set_space(device, reg::bar0 + 8, static_cast<std::uint32_t>(low + bar_size * ((i * seed) % 3)));
      decode(device, i % 5 != 0);
    }
  };
  std::thread one(mover, 1, 1), two(mover, 2, 2);
  one.join();
  two.join();
  move(1, low + 0x10'0000);
  move(2, low + 0x20'0000);
  EXPECT_EQ(vm.mapped(), entries({low + 0x10'0000, low + 0x20'0000}));
}

}  // namespace
}  // namespace trivet::vmm
