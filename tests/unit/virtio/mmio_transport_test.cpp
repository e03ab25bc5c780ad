// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>

#include <trivet/test/mmio_bench.hpp>

#include "test_device.hpp"

namespace trivet::test {
namespace {

using namespace std::chrono_literals;
namespace abi = virtio::abi;

struct MmioTransport : ::testing::Test {
  MmioTransport() { make(nullptr); }

  void make(Doorbells* doorbells) {
    auto device = std::make_unique<EchoDevice>();
    echo = device.get();
    bench = std::make_unique<MmioBench>(std::move(device), doorbells);
  }

  std::string ping(unsigned queue = 0) { return test::ping(*bench, queue); }

  EchoDevice* echo = nullptr;
  std::unique_ptr<MmioBench> bench;
};

TEST_F(MmioTransport, TellsWhatItIs) {
  EXPECT_EQ(bench->read(0x00), 0x74726976U);
  EXPECT_EQ(bench->read(0x04), 2U);
  EXPECT_EQ(bench->read(0x08), 42U);
  EXPECT_EQ(bench->read(0x0c), 0x54565254U);
  EXPECT_EQ(bench->offered(), EchoDevice::feature | abi::f_version_1 | abi::f_indirect_desc | abi::f_event_idx |
                                  abi::f_ring_packed | abi::f_in_order | abi::f_ring_reset | abi::f_notification_data);
  bench->write(0x14, 2);
  EXPECT_EQ(bench->read(0x10), 0U);
  bench->write(0x30, 1);
  EXPECT_EQ(bench->read(0x34), 16U);
  bench->write(0x30, 2);
  EXPECT_EQ(bench->read(0x34), 0U) << "there is no such queue";
}

TEST_F(MmioTransport, HasNoSharedMemoryRegions) {
  bench->write(0xac, 1);
  for (const auto offset : {0xb0, 0xb4, 0xb8, 0xbc})
    EXPECT_EQ(bench->read(static_cast<std::uint64_t>(offset)), 0xffffffffU);
}

TEST_F(MmioTransport, WriteOnlyAndReservedRegistersReadAsZero) {
  for (const auto offset : {0x18, 0x20, 0x24, 0x30, 0x38, 0x50, 0x64, 0x80, 0xa4, 0xc0, 0xf8}) {
    EXPECT_EQ(bench->read(static_cast<std::uint64_t>(offset)), 0U) << std::hex << offset;
  }
}

TEST_F(MmioTransport, RegistersTakeAlignedWordsOnly) {
  std::array<std::byte, 8> bytes;
  for (const std::size_t width : {1U, 2U, 8U}) {
    bytes.fill(std::byte{0xee});
    bench->transport->read(0, std::span(bytes).first(width));
    EXPECT_EQ(bytes[0], std::byte{0}) << width;
  }
  bytes.fill(std::byte{0xee});
  bench->transport->read(2, std::span(bytes).first(4));
  EXPECT_EQ(bytes[0], std::byte{0});

  const std::array<std::byte, 8> one{std::byte{1}};
  for (const std::size_t width : {1U, 2U, 8U}) bench->transport->write(0x70, std::span(one).first(width));
  EXPECT_EQ(bench->status(), 0U);
}

TEST_F(MmioTransport, ConfigurationTakesAnyWidth) {
  EXPECT_EQ(bench->config<std::uint8_t>(1), 0x33);
  EXPECT_EQ(bench->config<std::uint16_t>(2), 0x1122);
  EXPECT_EQ(bench->config<std::uint64_t>(0), 0x11223344U) << "zeros beyond the end";
  EXPECT_EQ(bench->config<std::uint32_t>(0x1000), 0U);
  bench->set_config<std::uint32_t>(0, 7);
  EXPECT_EQ(echo->setting, 7U);
}

TEST_F(MmioTransport, RingsAndNotificationDataMayBeWithheld) {
  constexpr auto withheld = abi::f_ring_packed | abi::f_in_order | abi::f_notification_data;
  auto device = std::make_unique<EchoDevice>();
  bench = std::make_unique<MmioBench>(std::move(device), nullptr, false, withheld | abi::f_version_1);
  EXPECT_EQ(bench->offered() & withheld, 0U);
  EXPECT_NE(bench->offered() & abi::f_version_1, 0U) << "without it there is no device";
  EXPECT_FALSE(bench->negotiate(abi::f_version_1 | abi::f_ring_packed));
  bench->start(1);
  EXPECT_EQ(ping(), "ping");
}

TEST_F(MmioTransport, RefusesFeaturesBeyondBit63) {
  bench->set_status(1);
  bench->set_status(3);
  bench->set_features(abi::f_version_1);
  bench->write(0x24, 2);
  bench->write(0x20, 1);
  bench->set_status(11);
  EXPECT_EQ(bench->status(), 3U);
  bench->write(0x20, 0);
  bench->set_status(11);
  EXPECT_EQ(bench->status(), 11U);
}

TEST_F(MmioTransport, QueuesAreSetUpBetweenFeaturesOkAndDriverOk) {
  Driver early(bench->guest, 16);
  bench->set_status(1);
  bench->describe_queue(0, early);
  bench->write(0x44, 1);
  EXPECT_EQ(bench->read(0x44), 0U);

  bench->start(1);
  EXPECT_EQ(bench->read(0x44), 1U);
  bench->describe_queue(1, early);
  bench->write(0x44, 1);
  EXPECT_EQ(bench->read(0x44), 0U);
  EXPECT_EQ(ping(), "ping");
  EXPECT_EQ(bench->status(), 15U);
}

TEST_F(MmioTransport, ABadQueueNeedsAReset) {
  const Driver good(bench->guest, 16);
  const auto enable = [&](std::uint64_t offset, std::uint32_t value) {
    bench->negotiate(bench->offered() & ~bench->unwanted);
    bench->describe_queue(0, good);
    bench->write(offset, value);
    bench->write(0x44, 1);
    EXPECT_EQ(bench->read(0x44), 0U);
    return bench->status();
  };
  EXPECT_EQ(enable(0x38, 128), 75U) << "beyond QueueNumMax";
  EXPECT_EQ(enable(0x38, 0x10010), 75U) << "16 in its low half";
  EXPECT_EQ(enable(0x38, 12), 75U);
  EXPECT_EQ(enable(0x38, 0), 75U);
  EXPECT_EQ(enable(0x80, 0x1008), 75U) << "misaligned";
  EXPECT_EQ(enable(0x84, 1), 75U) << "no memory";
  EXPECT_EQ(enable(0x90, static_cast<std::uint32_t>(good.device_area().value)), 75U) << "overlap";
  bench->set_driver_ok();
  EXPECT_EQ(bench->status(), 75U) << "only a reset helps";
  bench->start(1);
  EXPECT_EQ(ping(), "ping");
}

TEST_F(MmioTransport, UsedBuffersRaiseTheInterruptUntilAcknowledged) {
  bench->start(2);
  EXPECT_EQ(ping(1), "ping");
  bench->settle();
  EXPECT_EQ(bench->read(0x60), abi::interrupt_used);
  bench->write(0x64, abi::interrupt_config);
  EXPECT_EQ(bench->read(0x60), abi::interrupt_used);
  bench->write(0x64, abi::interrupt_used);
  EXPECT_EQ(bench->read(0x60), 0U);
  EXPECT_EQ(bench->line.count(), 1U);
}

TEST_F(MmioTransport, AConfigurationChangeRaisesTheInterruptAndTheGeneration) {
  bench->start(1);
  bench->settle();
  const auto before = bench->read(0xfc);
  ++echo->generation;
  echo->activation.notifier->config_changed();
  EXPECT_NE(bench->read(0xfc), before);
  EXPECT_EQ(bench->read(0x60), abi::interrupt_config);
  EXPECT_EQ(bench->line.count(), 1U);
}

TEST_F(MmioTransport, AFaultNeedsAResetOnceAndTheResetRecovers) {
  bench->start(2);
  bench->settle();
  bench->queue(0).make_available(99);  // no descriptor
  bench->queue(1).make_available(99);
  bench->kick(0);
  bench->kick(1);
  ASSERT_TRUE(bench->wait_status(abi::status_needs_reset));
  bench->settle();
  EXPECT_EQ(bench->status(), 79U);
  EXPECT_EQ(bench->read(0x60), abi::interrupt_config);
  EXPECT_EQ(bench->line.count(), 1U) << "once";
  EXPECT_EQ(bench->logged().size(), 1U) << "once";
  EXPECT_TRUE(bench->logged("queue 0"));

  const int processed = echo->processed;
  bench->kick(1);
  bench->settle();
  EXPECT_EQ(echo->processed, processed) << "the device rests until reset";

  bench->start(2);
  EXPECT_EQ(bench->read(0x60), 0U);
  EXPECT_EQ(ping(1), "ping");
  EXPECT_EQ(bench->status(), 15U);
}

TEST_F(MmioTransport, NotificationsMayCarryData) {
  bench->start(2);
  bench->settle();
  const int processed = echo->processed;
  bench->write(0x50, 1 | 0xabcdU << 16);
  bench->settle();
  EXPECT_GT(echo->processed, processed);
  bench->start(2, 16, abi::f_notification_data);
  bench->settle();
  const int before = echo->processed;
  bench->write(0x50, 1 | 0xabcdU << 16);
  bench->settle();
  EXPECT_EQ(echo->processed, before) << "without the feature that is no queue";
}

TEST_F(MmioTransport, DoorbellsMatchNoData) {
  bench.reset();
  TestDoorbells bells;
  make(&bells);
  EXPECT_EQ(bench->offered() & abi::f_notification_data, 0U);
}

TEST_F(MmioTransport, AQueueStopsByQueueReady) {
  bench->start(1);
  bench->write(0x30, 0);
  bench->write(0x44, 0);
  EXPECT_EQ(bench->read(0x44), 0U);
  const int processed = echo->processed;
  bench->kick(0);
  bench->settle();
  EXPECT_EQ(echo->processed, processed);
}

TEST_F(MmioTransport, DoorbellsRingForEachQueue) {
  bench.reset();
  TestDoorbells bells;
  make(&bells);
  ASSERT_EQ(bells.specs.size(), 2U);
  EXPECT_EQ(bells.specs[1], (DoorbellSpec{.at = {MmioBench::base + 0x50}, .size = 4, .value = 1}));
  bench->start(2);
  bench->settle();
  const auto out = bench->guest.allocate(4);
  bench->queue(1).add({{bench->guest.place("ping"), 4, false}, {out, 4, true}});
  bells.ring(1);
  EXPECT_TRUE(bench->wait_used(1));
  EXPECT_EQ(ping(0), "ping") << "a write that comes as an exit rings too";
  bench.reset();
}

TEST_F(MmioTransport, WithoutDoorbellsTheWriteRings) {
  bench.reset();
  TestDoorbells bells;
  bells.refuse = true;
  make(&bells);
  EXPECT_TRUE(bench->logged("create doorbell"));
  bench->start(1);
  bench->settle();
  EXPECT_EQ(ping(), "ping");
  bench.reset();
}

TEST_F(MmioTransport, AKickOfNoQueueIsIgnored) {
  bench->start(1);
  bench->kick(2);
  bench->kick(0xffffffff);
  EXPECT_EQ(ping(), "ping");
  EXPECT_TRUE(bench->logged("QueueNotify"));
}

TEST_F(MmioTransport, TheLogOfRefusalsIsBounded) {
  for (int i = 0; i < 1000; ++i) bench->write(0x00, 1);
  EXPECT_LE(bench->logged().size(), 8U);
}

TEST_F(MmioTransport, AccessesFromManyThreadsWhileTheDeviceIsResetAndRuns) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> vcpus;
  for (int n = 0; n < 2; ++n) {
    vcpus.emplace_back([&] {
      while (!stop) {
        for (std::uint64_t at = 0; at < 0x110; at += 4) (void)bench->read(at);
        bench->write(0x50, 0);  // a kick, without what the bench itself knows
        bench->set_config<std::uint32_t>(0, 1);
        bench->write(0x64, 3);
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    bench->start(2);
    bench->set_status(0);
  }
  stop = true;
  for (auto& vcpu : vcpus) vcpu.join();
  EXPECT_EQ(bench->status(), 0U);
}

TEST(MmioTransportCreate, NamesWhatIsMissing) {
  EXPECT_EQ(virtio::MmioTransport::create(nullptr, {}).error().code(), Errc::invalid_argument);
  auto device = std::make_unique<EchoDevice>();
  device->sizes[1] = 12;
  boost::asio::io_context loop;
  CountingLine line;
  const TestGuest guest;
  const auto made = virtio::MmioTransport::create(
      std::move(device), {.memory = guest.map(), .executor = loop.get_executor(), .interrupt = &line});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code(), Errc::invalid_argument);
}

}  // namespace
}  // namespace trivet::test
