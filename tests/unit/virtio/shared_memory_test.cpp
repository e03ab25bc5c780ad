// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <boost/asio/io_context.hpp>

#include <trivet/memory/mapping.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/test/device_bench.hpp>
#include <trivet/test/sharing_device.hpp>
#include <trivet/test/test_router.hpp>
#include <trivet/virtio/abi/pci.hpp>
#include <trivet/virtio/mmio_transport.hpp>
#include <trivet/virtio/pci/registers.hpp>
#include <trivet/virtio/pci_transport.hpp>

namespace trivet::test {
namespace {

namespace abi = virtio::abi;
namespace reg = pci::reg;

constexpr std::uint64_t page = 4096;

/// Two regions, of 3 pages and of 1, with ids that are not in their order.
struct SharedMemoryTest : ::testing::Test, pci::BarListener {
  std::unique_ptr<SharingDevice> device() {
    return std::make_unique<SharingDevice>(std::vector<virtio::SharedMemory>{
        {.id = 7, .length = 3 * page, .host = first.data()}, {.id = 0, .length = page, .host = second.data()}});
  }
  Result<std::unique_ptr<virtio::MmioTransport>> make_mmio(std::unique_ptr<virtio::Device> its,
                                                           std::vector<GuestAddress> mapped) {
    return virtio::MmioTransport::create(
        std::move(its),
        {.memory = memory, .executor = loop.get_executor(), .interrupt = &line, .shared_memory = std::move(mapped)});
  }
  Result<std::unique_ptr<virtio::PciTransport>> make_pci(std::unique_ptr<virtio::Device> its) {
    return virtio::PciTransport::create(std::move(its),
                                        {.memory = memory, .executor = loop.get_executor(), .router = &router});
  }
  void bar_moved(pci::Function&, unsigned bar, std::optional<GuestAddress> at) noexcept override { places[bar] = at; }

  boost::asio::io_context loop{1};
  std::shared_ptr<memory::MemoryMap> memory = std::make_shared<memory::MemoryMap>();
  CountingLine line;
  TestRouter router;
  memory::Mapping first = *memory::Mapping::anonymous(3 * page);
  memory::Mapping second = *memory::Mapping::anonymous(page);
  std::map<unsigned, std::optional<GuestAddress>> places;
};

TEST_F(SharedMemoryTest, MmioTellsWhereEachRegionIs) {
  const auto made = make_mmio(device(), {{0x1'0000'0000}, {0x2'0000'3000}});
  ASSERT_TRUE(made) << to_string(made.error());
  auto& transport = **made;
  const auto number = [&](std::uint64_t offset) {
    std::uint64_t value = 0;
    for (const unsigned half : {0U, 4U}) {
      std::uint32_t word = 0;
      transport.read(offset + half, std::as_writable_bytes(std::span(&word, 1)));
      value |= std::uint64_t{word} << half * 8;
    }
    return value;
  };
  const auto select = [&](std::uint32_t id) { transport.write(0xac, std::as_bytes(std::span(&id, 1))); };
  constexpr std::uint64_t length = 0xb0;
  constexpr std::uint64_t base = 0xb8;
  EXPECT_EQ(number(length), page) << "region 0 until another is chosen";
  select(7);
  EXPECT_EQ(number(length), 3 * page);
  EXPECT_EQ(number(base), 0x1'0000'0000U);
  select(0);
  EXPECT_EQ(number(base), 0x2'0000'3000U);
  for (const std::uint32_t nobody : {1U, 6U, 255U, 256U, 263U, 0xffffffffU}) {
    select(nobody);
    EXPECT_EQ(number(length), ~std::uint64_t{0}) << nobody;
    EXPECT_EQ(number(base), ~std::uint64_t{0}) << nobody;
  }
  transport.reset();
  EXPECT_EQ(number(length), page) << "as at first";
}

TEST_F(SharedMemoryTest, MmioShowsWhatIsMappedOnly) {
  const auto made = make_mmio(device(), {{0x1'0000'0000}});
  ASSERT_TRUE(made);
  std::uint32_t word = 0;
  (*made)->read(0xb0, std::as_writable_bytes(std::span(&word, 1)));
  EXPECT_EQ(word, 0xffffffffU);
  EXPECT_EQ(make_mmio(device(), {{0}, {0}, {0}}).error().code(), Errc::invalid_argument);
}

/// A function as its bus sees it.
struct SharedMemoryPci : SharedMemoryTest {
  void SetUp() override {
    auto made = make_pci(device());
    ASSERT_TRUE(made) << to_string(made.error());
    function = std::move(*made);
    function->listen(this);
  }
  template <class T>
  T space(std::uint64_t offset) {
    T value{};
    function->read_config(static_cast<std::uint16_t>(offset), std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <class T>
  void set_space(std::uint64_t offset, T value) {
    function->write_config(static_cast<std::uint16_t>(offset), std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  T get(std::uint64_t offset) {
    T value = static_cast<T>(0xee);
    function->read_bar(2, offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <class T>
  void put(std::uint64_t offset, T value) {
    function->write_bar(2, offset, std::as_bytes(std::span(&value, 1)));
  }
  std::unique_ptr<virtio::PciTransport> function;
};

TEST_F(SharedMemoryPci, HasACapabilityForEachRegionAndABarForAll) {
  std::map<unsigned, std::pair<std::uint64_t, std::uint64_t>> found;
  for (auto at = space<std::uint8_t>(reg::capabilities); at != 0; at = space<std::uint8_t>(at + 1U)) {
    if (space<std::uint8_t>(at) != reg::capability_vendor || space<std::uint8_t>(at + 3U) != 8) continue;
    EXPECT_EQ(space<std::uint8_t>(at + 2U), 24U) << "the 64-bit form";
    EXPECT_EQ(space<std::uint8_t>(at + 4U), 2U);
    const auto low = [&](unsigned field) { return std::uint64_t{space<std::uint32_t>(at + field)}; };
    found[space<std::uint8_t>(at + 5U)] = {low(8) | low(16) << 32, low(12) | low(20) << 32};
  }
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[7], std::pair(std::uint64_t{0}, 3 * page));
  EXPECT_EQ(found[0], std::pair(3 * page, page));
  EXPECT_EQ(function->bars()[2].size, 4 * page);
  EXPECT_TRUE(function->bars()[2].wide && function->bars()[2].prefetchable);
}

TEST_F(SharedMemoryPci, AccessesReachTheRegionsAndNothingElse) {
  put<std::uint64_t>(8, 0x1122334455667788);
  put<std::uint32_t>(3 * page, 0xcafe);
  EXPECT_EQ(get<std::uint64_t>(8), 0x1122334455667788U);
  EXPECT_EQ(std::to_integer<unsigned>(first.data()[8]), 0x88U);
  EXPECT_EQ(std::to_integer<unsigned>(second.data()[0]), 0xfeU);
  EXPECT_EQ(get<std::uint32_t>(3 * page - 4), 0U);
  put<std::uint8_t>(4 * page - 1, 9);
  EXPECT_EQ(get<std::uint8_t>(4 * page - 1), 9U) << "to the last byte";
  EXPECT_EQ(get<std::uint64_t>(4 * page - 4), 0U) << "not across the end";
  put<std::uint64_t>(3 * page - 4, ~0ULL);
  EXPECT_EQ(get<std::uint32_t>(3 * page - 4), 0U) << "nor from one into the other";
  for (const auto beyond : {4 * page, std::uint64_t{1} << 40, ~std::uint64_t{0} - 7}) {
    put<std::uint64_t>(beyond, 1);
    EXPECT_EQ(get<std::uint64_t>(beyond), 0U);
  }
  std::uint8_t byte = 1;
  function->write_bar(3, 0, std::as_bytes(std::span(&byte, 1)));
  function->read_bar(3, 0, std::as_writable_bytes(std::span(&byte, 1)));
  EXPECT_EQ(byte, 0U) << "its upper half is no BAR";
}

TEST_F(SharedMemoryPci, TellsWhatLiesInTheBar) {
  const auto pieces = function->bar_memory(2);
  ASSERT_EQ(pieces.size(), 2U);
  EXPECT_EQ(pieces[0].host, first.data());
  EXPECT_EQ(pieces[0].size, 3 * page);
  EXPECT_EQ(pieces[1].host, second.data());
  EXPECT_EQ(pieces[1].offset, 3 * page);
  EXPECT_TRUE(function->bar_memory(0).empty());
}

TEST_F(SharedMemoryPci, ItsBarMovesByItself) {
  set_space<std::uint32_t>(reg::bar0, 0xd000'0000);
  set_space<std::uint32_t>(reg::bar0 + 8, 0x0001'0000);
  set_space<std::uint32_t>(reg::bar0 + 12, 5);
  EXPECT_TRUE(places.empty()) << "nothing is decoded yet";
  set_space<std::uint16_t>(reg::command, reg::command_memory);
  EXPECT_EQ(places[0], GuestAddress{0xd000'0000});
  EXPECT_EQ(places[2], GuestAddress{0x5'0001'0000});
  places.clear();
  set_space<std::uint32_t>(reg::bar0 + 12, 6);
  EXPECT_EQ(places.size(), 1U);
  EXPECT_EQ(places[2], GuestAddress{0x6'0001'0000});
  set_space<std::uint16_t>(reg::command, 0);
  EXPECT_EQ(places[2], std::nullopt);
}

TEST_F(SharedMemoryTest, WithoutRegionsThereIsNoBar) {
  auto made = make_pci(std::make_unique<SharingDevice>(std::vector<virtio::SharedMemory>{}));
  ASSERT_TRUE(made);
  EXPECT_EQ((*made)->bars()[2].size, 0U);
  std::uint32_t word = 1;
  (*made)->read_bar(2, 0, std::as_writable_bytes(std::span(&word, 1)));
  EXPECT_EQ(word, 0U);
}

TEST_F(SharedMemoryTest, RegionsThatCannotBeAreRefused) {
  const auto refused = [&](std::vector<virtio::SharedMemory> regions) {
    const auto made = make_pci(std::make_unique<SharingDevice>(std::move(regions)));
    return !made && made.error().code() == Errc::invalid_argument;
  };
  const virtio::SharedMemory good{.id = 1, .length = page, .host = second.data()};
  EXPECT_TRUE(refused({good, good})) << "twice";
  EXPECT_TRUE(refused({{.id = 1, .length = 0, .host = second.data()}}));
  EXPECT_TRUE(refused({{.id = 1, .length = 100, .host = second.data()}}));
  EXPECT_TRUE(refused({{.id = 1, .length = page}}));
  EXPECT_TRUE(refused({{.id = 1, .length = page, .host = second.data() + 8}}));
  EXPECT_TRUE(refused({{.id = 1, .length = std::uint64_t{1} << 41, .host = second.data()}}));
  std::vector<virtio::SharedMemory> many;
  for (std::uint8_t id = 0; id < 20; ++id) many.push_back({.id = id, .length = page, .host = second.data()});
  EXPECT_EQ(make_pci(std::make_unique<SharingDevice>(many)).error().code(), Errc::limit) << "no room to tell of them";
}

}  // namespace
}  // namespace trivet::test
