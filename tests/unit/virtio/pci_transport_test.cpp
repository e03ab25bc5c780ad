// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>

#include <trivet/test/pci_bench.hpp>

#include "test_device.hpp"

namespace trivet::test {
namespace {

namespace abi = virtio::abi;
namespace reg = pci::reg;

/// A wired line that knows its level.
struct Intx final : InterruptLine {
  Result<void> signal() noexcept override { return Error::unsupported("signal", "a level line"); }
  Result<void> set_level(bool asserted) noexcept override {
    level = asserted;
    return {};
  }
  [[nodiscard]] int trigger_fd() const noexcept override { return -1; }
  [[nodiscard]] int resample_fd() const noexcept override { return -1; }
  std::atomic<bool> level{false};
};

struct Moves final : pci::BarListener {
  void bar_moved(pci::Function&, unsigned, std::optional<GuestAddress> at) noexcept override { places.push_back(at); }
  std::vector<std::optional<GuestAddress>> places;
};

struct PciTransport : ::testing::Test {
  PciTransport() { make(); }

  void make(Doorbells* doorbells = nullptr, InterruptLine* intx = nullptr) {
    bench.reset();
    auto device = std::make_unique<EchoDevice>();
    echo = device.get();
    bench = std::make_unique<PciBench>(std::move(device), doorbells, false, intx);
  }
  GuestAddress offer_ping(unsigned queue) { return test::offer_ping(*bench, queue); }
  std::string ping(unsigned queue = 0) { return test::ping(*bench, queue); }

  EchoDevice* echo = nullptr;
  std::unique_ptr<PciBench> bench;
};

TEST_F(PciTransport, IsAModernVirtioFunction) {
  EXPECT_EQ(bench->space<std::uint16_t>(reg::vendor_id), 0x1af4);
  EXPECT_EQ(bench->space<std::uint16_t>(reg::device_id), 0x1040 + 42);
  EXPECT_GE(bench->space<std::uint8_t>(reg::revision_id), 1);
  EXPECT_GE(bench->space<std::uint16_t>(reg::subsystem_id), 0x40);
  EXPECT_EQ(bench->space<std::uint8_t>(reg::interrupt_pin), 0) << "no INTx";
  EXPECT_EQ(bench->offered(), EchoDevice::feature | abi::f_version_1 | abi::f_indirect_desc | abi::f_event_idx |
                                  abi::f_ring_packed | abi::f_in_order | abi::f_ring_reset | abi::f_notification_data |
                                  abi::f_notif_config_data);
  EXPECT_EQ(bench->common<std::uint16_t>(0x12), 2) << "num_queues";
  EXPECT_EQ(bench->space<std::uint16_t>(bench->msix_capability + 2U) & 0x7ff, 2) << "three vectors";
}

TEST_F(PciTransport, EveryStructureHasAPageOfItsOwn) {
  const std::set<std::uint64_t> pages{bench->common_at, bench->notify_at, bench->isr_at,
                                      bench->device_at, bench->table_at,  bench->pending_at};
  EXPECT_EQ(pages.size(), 6U);
  for (const auto page : pages) {
    EXPECT_EQ(page % 4096, 0U);
    EXPECT_LT(page, bench->transport->bars()[0].size);
  }
}

TEST_F(PciTransport, QueuesHaveASizeFromTheStart) {
  bench->set_common<std::uint16_t>(0x16, 1);
  EXPECT_EQ(bench->common<std::uint16_t>(0x18), 16);
  EXPECT_EQ(bench->common<std::uint16_t>(0x1a), 0xffff);
  EXPECT_EQ(bench->common<std::uint16_t>(0x1e), 1);
  bench->set_common<std::uint16_t>(0x16, 2);
  EXPECT_EQ(bench->common<std::uint16_t>(0x18), 0) << "there is no such queue";
  EXPECT_EQ(bench->common<std::uint16_t>(0x16), 2);
}

TEST_F(PciTransport, AQueueOfTheLargestSizeNeedsNoSize) {
  bench->negotiate(bench->offered());
  const Driver driver(bench->guest, 64);
  bench->set_common<std::uint16_t>(0x16, 0);
  bench->set_common(0x20, driver.descriptor_area().value);
  bench->set_common(0x28, driver.driver_area().value);
  bench->set_common(0x30, driver.device_area().value);
  bench->enable_queue(0);
  EXPECT_TRUE(bench->queue_enabled(0));
  EXPECT_EQ(bench->common<std::uint64_t>(0x30), driver.device_area().value);
}

TEST_F(PciTransport, FieldsTakeTheirOwnWidth) {
  bench->set_common<std::uint32_t>(0x14, 1);  // status and what follows it
  bench->set_common<std::uint16_t>(0x14, 1);
  EXPECT_EQ(bench->status(), 0U);
  bench->set_common<std::uint8_t>(0x16, 1);
  EXPECT_EQ(bench->common<std::uint16_t>(0x16), 0);
  bench->set_common<std::uint16_t>(0x12, 9);  // read-only
  EXPECT_EQ(bench->common<std::uint16_t>(0x12), 2);
  bench->set_common<std::uint8_t>(0x14, 1);
  EXPECT_EQ(bench->status(), 1U);
  EXPECT_EQ(bench->common<std::uint32_t>(0x14) & 0xff, 1U) << "reads of any width";
  EXPECT_EQ(bench->bar<std::uint64_t>(0x800), 0U) << "nothing behind it";
  EXPECT_TRUE(bench->logged("of another width"));
}

TEST_F(PciTransport, CarriesRequestsAndRaisesEachQueuesVector) {
  bench->start(2);
  EXPECT_EQ(ping(0), "ping");
  EXPECT_EQ(bench->router.count(0x41), 1U);
  EXPECT_EQ(ping(1), "ping");
  EXPECT_EQ(bench->router.count(0x42), 1U);
  EXPECT_EQ(bench->router.last().device_id, 0x18U);
  EXPECT_EQ(bench->bar<std::uint8_t>(bench->isr_at), 0) << "with MSI-X the ISR says nothing of queues";
  EXPECT_EQ(bench->status(), 15U);
}

TEST_F(PciTransport, AQueueWithoutAVectorIsSilent) {
  bench->start(2);
  bench->set_common<std::uint16_t>(0x16, 1);
  bench->set_common<std::uint16_t>(0x1a, 0xffff);
  offer_ping(1);
  bench->kick(1);
  bench->settle();
  EXPECT_TRUE(bench->queue(1).take_used());
  EXPECT_EQ(bench->router.count(), 0U);
}

TEST_F(PciTransport, AVectorThatCannotBeMappedReadsBackAsNone) {
  bench->set_common<std::uint16_t>(0x10, 3);
  EXPECT_EQ(bench->common<std::uint16_t>(0x10), 0xffff) << "there are three";
  bench->set_common<std::uint16_t>(0x10, 2);
  EXPECT_EQ(bench->common<std::uint16_t>(0x10), 2);
  bench->router.most_routes = 1;
  bench->set_common<std::uint16_t>(0x16, 0);
  bench->set_common<std::uint16_t>(0x1a, 1);
  EXPECT_EQ(bench->common<std::uint16_t>(0x1a), 0xffff) << "the host has no route left";
  EXPECT_TRUE(bench->logged("as the test wants"));
}

TEST_F(PciTransport, AConfigurationChangeRaisesItsVectorAndTheIsr) {
  bench->start(1);
  bench->settle();
  const auto before = bench->generation();
  ++echo->generation;
  echo->activation.notifier->config_changed();
  EXPECT_NE(bench->generation(), before);
  EXPECT_EQ(bench->router.count(PciBench::first_data), 1U);
  EXPECT_EQ(bench->space<std::uint16_t>(reg::status) & reg::status_interrupt, reg::status_interrupt);
  EXPECT_EQ(bench->bar<std::uint8_t>(bench->isr_at), abi::pci_isr_config);
  EXPECT_EQ(bench->bar<std::uint8_t>(bench->isr_at), 0) << "the read has cleared it";
  EXPECT_EQ(bench->space<std::uint16_t>(reg::status) & reg::status_interrupt, 0);
}

TEST_F(PciTransport, AMaskedVectorWaits) {
  bench->start(1);
  bench->set_vector(1, 0x77, true);
  const auto out = offer_ping(0);
  bench->kick(0);
  bench->settle();
  EXPECT_EQ(bench->router.count(), 0U);
  EXPECT_EQ(bench->bar<std::uint64_t>(bench->pending_at), 2U);
  bench->set_bar<std::uint32_t>(bench->table_at + 28, 0);
  EXPECT_EQ(bench->router.count(0x77), 1U);
  EXPECT_EQ(bench->guest.text(out, 4), "ping");
}

TEST_F(PciTransport, WithoutMsixTheLineIsRaisedUntilTheIsrIsRead) {
  Intx intx;
  make(nullptr, &intx);
  EXPECT_EQ(bench->space<std::uint8_t>(reg::interrupt_pin), 1);
  bench->with_vectors = false;
  bench->start(1);
  offer_ping(0);
  bench->kick(0);
  bench->settle();
  EXPECT_TRUE(intx.level);
  bench->set_space<std::uint16_t>(reg::command, reg::command_memory | reg::command_interrupt_disable);
  EXPECT_FALSE(intx.level) << "the driver may switch it off";
  bench->set_space<std::uint16_t>(reg::command, reg::command_memory);
  EXPECT_TRUE(intx.level);
  EXPECT_EQ(bench->bar<std::uint8_t>(bench->isr_at), abi::pci_isr_queue);
  EXPECT_FALSE(intx.level);
  bench.reset();
}

TEST_F(PciTransport, AFaultNeedsAResetAndTheResetForgetsVectors) {
  bench->start(2);
  bench->settle();
  bench->queue(0).make_available(99);
  bench->kick(0);
  ASSERT_TRUE(bench->wait_status(abi::status_needs_reset));
  bench->settle();
  EXPECT_EQ(bench->router.count(PciBench::first_data), 1U);
  bench->set_status(0);
  EXPECT_EQ(bench->common<std::uint16_t>(0x10), 0xffff);
  bench->set_common<std::uint16_t>(0x16, 1);
  EXPECT_EQ(bench->common<std::uint16_t>(0x1a), 0xffff);
  bench->start(2);
  EXPECT_EQ(ping(1), "ping");
}

TEST_F(PciTransport, AQueueThatIsResetIsAsAtFirst) {
  bench->start(2);
  bench->reset_queue(0);
  EXPECT_EQ(bench->common<std::uint16_t>(0x3a), 0) << "it is over";
  EXPECT_EQ(bench->common<std::uint16_t>(0x18), 64);
  EXPECT_EQ(bench->common<std::uint16_t>(0x1a), 0xffff);
  bench->add_queue(0, 8);
  bench->set_common<std::uint16_t>(0x1c, 0);
  EXPECT_TRUE(bench->queue_enabled(0)) << "0 is not for drivers to write";
}

TEST_F(PciTransport, TheWindowReachesTheBar) {
  const auto window = [&](std::uint8_t bar, std::uint32_t offset, std::uint32_t length) {
    bench->set_space<std::uint8_t>(bench->window_capability + 4U, bar);
    bench->set_space<std::uint32_t>(bench->window_capability + 8U, offset);
    bench->set_space<std::uint32_t>(bench->window_capability + 12U, length);
  };
  const auto data = bench->window_capability + 16U;
  window(0, static_cast<std::uint32_t>(bench->common_at) + 0x12, 2);
  EXPECT_EQ(bench->space<std::uint16_t>(data), 2) << "num_queues";
  window(0, static_cast<std::uint32_t>(bench->common_at) + 0x14, 1);
  bench->set_space<std::uint8_t>(data, 1);
  EXPECT_EQ(bench->status(), 1U);
  bench->set_space<std::uint16_t>(data, 3);
  EXPECT_EQ(bench->status(), 1U) << "not the window's width";
  for (const auto& [bar, offset, length] :
       std::initializer_list<std::tuple<std::uint8_t, std::uint32_t, std::uint32_t>>{
           {1, 0x14, 1}, {0, 0x8000, 4}, {0, 0xfffffffc, 4}, {0, 0x7ffe, 4}, {0, 0x14, 0}, {0, 0x14, 8}}) {
    window(bar, offset, length);
    EXPECT_EQ(bench->space<std::uint32_t>(data), 0U) << offset;
    bench->set_space<std::uint32_t>(data, 0);
  }
  EXPECT_EQ(bench->status(), 1U);
}

TEST_F(PciTransport, RingsAndNotificationDataMayBeWithheld) {
  constexpr auto withheld = abi::f_ring_packed | abi::f_in_order | abi::f_notification_data | abi::f_notif_config_data;
  bench = std::make_unique<PciBench>(std::make_unique<EchoDevice>(), nullptr, false, nullptr, withheld);
  EXPECT_EQ(bench->offered() & withheld, 0U);
  EXPECT_FALSE(bench->negotiate(abi::f_version_1 | abi::f_ring_packed));
  bench->start(1);
  EXPECT_EQ(ping(), "ping");
}

TEST_F(PciTransport, TellsWhatTheDriverCallsAQueueWhenThatIsNegotiated) {
  bench->start(2, 16, abi::f_notif_config_data);
  for (const std::uint16_t queue : std::initializer_list<std::uint16_t>{0, 1}) {
    bench->set_common<std::uint16_t>(0x16, queue);
    EXPECT_EQ(bench->common<std::uint16_t>(0x38), 0);
  }
  bench->start(2);
  for (const std::uint16_t queue : std::initializer_list<std::uint16_t>{0, 1}) {
    bench->set_common<std::uint16_t>(0x16, queue);
    EXPECT_EQ(bench->common<std::uint16_t>(0x38), queue);
    EXPECT_EQ(ping(queue), "ping");
  }
  bench->set_common<std::uint16_t>(0x16, 2);
  EXPECT_EQ(bench->common<std::uint16_t>(0x38), 0) << "there is no such queue";
}

TEST_F(PciTransport, DoorbellsRingAtEachQueuesAddressAndFollowTheBar) {
  TestDoorbells bells;
  make(&bells);
  EXPECT_TRUE(bells.specs.empty()) << "none before the queue runs";
  bench->start(2);
  ASSERT_EQ(bells.specs.size(), 2U);
  EXPECT_EQ(bells.specs[1].at.value, PciBench::base + bench->notify_at + bench->multiplier);
  EXPECT_FALSE(bells.specs[1].value);
  bench->settle();
  offer_ping(1);
  bells.ring(1);
  EXPECT_TRUE(bench->wait_used(1));
  EXPECT_EQ(ping(0), "ping") << "a write that comes as an exit rings too";

  bench->set_space<std::uint32_t>(reg::bar0, 0xd9000000);
  ASSERT_EQ(bells.specs.size(), 4U);
  EXPECT_EQ(bells.specs[2].at.value, 0xd9000000 + bench->notify_at);
  offer_ping(0);
  bells.ring(2);
  EXPECT_TRUE(bench->wait_used(0));

  bench->set_space<std::uint16_t>(reg::command, 0);
  EXPECT_EQ(bells.specs.size(), 4U) << "not decoded, no doorbell";
  EXPECT_EQ(ping(0), "ping") << "still served, should a write come";
  bench.reset();
}

TEST_F(PciTransport, DoorbellsThatNeedAWidthGetIt) {
  TestDoorbells bells;
  bells.need_size = true;
  make(&bells);
  bench->start(1, 16, abi::f_notification_data);
  ASSERT_EQ(bells.specs.size(), 1U);
  EXPECT_EQ(bells.specs[0].size, 2);
  bench->start(1);
  ASSERT_EQ(bells.specs.size(), 2U);
  EXPECT_EQ(bells.specs[1].size, 4) << "notifications carry data";
  bells.refuse = true;
  bench->start(1);
  EXPECT_TRUE(bench->logged("create doorbell"));
  EXPECT_EQ(ping(), "ping");
  bench.reset();
}

TEST_F(PciTransport, TellsItsBusWhereItIs) {
  Moves moves;
  bench->transport->listen(&moves);
  bench->set_space<std::uint16_t>(reg::command, 0);
  bench->set_space<std::uint32_t>(reg::bar0, 0xffffffff);
  bench->set_space<std::uint32_t>(reg::bar0, 0xda000000);
  bench->set_space<std::uint16_t>(reg::command, reg::command_memory);
  bench->set_space<std::uint32_t>(reg::bar0, 0xdb000000);
  bench->set_space<std::uint32_t>(reg::bar0, 0xdb000000);
  ASSERT_EQ(moves.places.size(), 3U);
  EXPECT_FALSE(moves.places[0]);
  EXPECT_EQ(moves.places[1], GuestAddress{0xda000000});
  EXPECT_EQ(moves.places[2], GuestAddress{0xdb000000});
  bench->transport->listen(nullptr);
}

TEST_F(PciTransport, AKickOfNoQueueIsIgnored) {
  bench->start(1);
  bench->set_bar<std::uint16_t>(bench->notify_at + 8, 2);
  bench->set_bar<std::uint16_t>(bench->notify_at + 2, 0);
  bench->set_bar<std::uint64_t>(bench->notify_at + 0xff8, 0);
  EXPECT_EQ(ping(), "ping");
  EXPECT_TRUE(bench->logged("a notification at"));
}

TEST_F(PciTransport, WhatLiesBeyondTheBarIsNotReached) {
  EXPECT_EQ(bench->bar<std::uint32_t>(0x7ffe), 0U);
  EXPECT_EQ(bench->bar<std::uint64_t>(~std::uint64_t{0}), 0U);
  bench->set_bar<std::uint64_t>(0x7ffc, 1);
  std::array<std::byte, 4> data{std::byte{7}};
  bench->transport->read_bar(1, 0, data);
  EXPECT_EQ(data[0], std::byte{0});
  bench->transport->write_bar(1, 0x14, std::span(data).first(1));
  EXPECT_EQ(bench->status(), 0U);
}

TEST_F(PciTransport, NobodyWaitsForALoopThatHasEnded) {
  TestDoorbells bells;
  make(&bells);
  bench->start(1);
  bench->stop_loop();
  bench->set_status(0);
  EXPECT_EQ(bench->status(), 0U);
  bench->start(1);
  EXPECT_EQ(bench->status(), 79U) << "it cannot be activated";
  bench->set_space<std::uint32_t>(reg::bar0, 0xd9000000);
  bench.reset();
}

TEST_F(PciTransport, AccessesFromManyThreadsWhileTheDeviceIsResetAndMoves) {
  TestDoorbells bells;
  make(&bells);
  std::atomic<bool> stop{false};
  std::vector<std::thread> vcpus;
  for (int n = 0; n < 2; ++n) {
    vcpus.emplace_back([&, n] {
      while (!stop) {
        for (std::uint64_t at = 0; at < 0x6000; at += 0x204) (void)bench->bar<std::uint32_t>(at);
        bench->set_bar<std::uint16_t>(bench->notify_at, 0);
        bench->set_space<std::uint32_t>(reg::bar0, n == 0 ? 0xd8000000 : 0xd9000000);
        bench->set_vector(1, 0x50, n == 0);
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
  bench.reset();
}

TEST(PciTransportCreate, NamesWhatIsMissing) {
  EXPECT_EQ(virtio::PciTransport::create(nullptr, {}).error().code(), Errc::invalid_argument);
  boost::asio::io_context loop;
  const TestGuest guest;
  const auto made = virtio::PciTransport::create(std::make_unique<EchoDevice>(),
                                                 {.memory = guest.map(), .executor = loop.get_executor()});
  ASSERT_FALSE(made);
  EXPECT_NE(to_string(made.error()).find("router"), std::string::npos);
}

}  // namespace
}  // namespace trivet::test
