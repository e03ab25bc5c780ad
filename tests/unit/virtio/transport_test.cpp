// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What a driver sees in the same way through the registers of every transport. What each has of its own is in
// mmio_transport_test.cpp and pci_transport_test.cpp.
#include <future>
#include <gtest/gtest.h>
#include <string>
#include <thread>

#include <boost/asio/post.hpp>

#include <trivet/test/homes.hpp>

#include "test_device.hpp"

namespace trivet::test {
namespace {

namespace abi = virtio::abi;

struct Transport : ::testing::TestWithParam<Home> {
  Transport() {
    auto device = std::make_unique<EchoDevice>();
    echo = device.get();
    bench = make_bench(GetParam(), std::move(device));
  }
  std::string ping(unsigned queue = 0) { return test::ping(*bench, queue); }

  EchoDevice* echo = nullptr;
  std::unique_ptr<DeviceBench> bench;
};

TEST_P(Transport, TakesTheStatusInOrder) {
  bench->set_status(8);  // FEATURES_OK without anything
  EXPECT_EQ(bench->status(), 0U);
  bench->set_status(1);
  bench->set_status(11);  // FEATURES_OK with DRIVER
  EXPECT_EQ(bench->status(), 1U);
  bench->set_status(3);
  bench->set_features(abi::f_version_1);
  bench->set_status(15);  // DRIVER_OK with FEATURES_OK
  EXPECT_EQ(bench->status(), 3U);
  bench->set_status(11);
  EXPECT_EQ(bench->status(), 11U);
  bench->set_status(3);  // takes one back
  EXPECT_EQ(bench->status(), 11U);
  bench->set_status(15);
  EXPECT_EQ(bench->status(), 15U);
  EXPECT_EQ(echo->activations, 1);
  bench->set_status(15);
  EXPECT_EQ(echo->activations, 1);
  bench->set_status(0);
  EXPECT_EQ(bench->status(), 0U);
  EXPECT_EQ(echo->resets, 1);
  EXPECT_TRUE(bench->logged("a status out of order"));
}

TEST_P(Transport, DriverWithoutAcknowledgeSaysBoth) {
  bench->set_status(2);  // as U-Boot does
  EXPECT_EQ(bench->status(), 3U);
  bench->set_features(abi::f_version_1);
  bench->set_status(11);
  EXPECT_EQ(bench->status(), 11U);
  EXPECT_FALSE(bench->logged("a status out of order"));
  bench->set_status(0);
  bench->set_status(10);  // but no more than that
  EXPECT_EQ(bench->status(), 0U);
}

TEST_P(Transport, AfterFailedOnlyAResetHelps) {
  bench->set_status(1);
  bench->set_status(0x81);
  EXPECT_EQ(bench->status(), 0x81U);
  bench->set_status(0x83);
  bench->set_status(3);
  EXPECT_EQ(bench->status(), 0x81U);
  bench->set_status(0);
  EXPECT_EQ(bench->status(), 0U);
}

TEST_P(Transport, RefusesFeaturesNotOffered) {
  EXPECT_FALSE(bench->negotiate(abi::f_version_1 | abi::f_access_platform));
  EXPECT_FALSE(bench->negotiate(abi::f_version_1 | 1));
  EXPECT_TRUE(bench->negotiate(abi::f_version_1));
}

TEST_P(Transport, RefusesLegacyDrivers) {
  EXPECT_FALSE(bench->negotiate(EchoDevice::feature));
}

TEST_P(Transport, FeaturesAreFixedByFeaturesOk) {
  ASSERT_TRUE(bench->negotiate(abi::f_version_1));
  bench->set_features(abi::f_version_1 | EchoDevice::feature);
  bench->set_driver_ok();
  bench->settle();
  EXPECT_EQ(echo->activation.features, abi::f_version_1);
}

TEST_P(Transport, AnEnabledQueueKeepsItsSettings) {
  bench->negotiate(bench->offered());
  bench->add_queue(0, 16);
  Driver other(bench->guest, 8);
  bench->describe_queue(0, other);
  bench->enable_queue(0);
  bench->set_driver_ok();
  EXPECT_EQ(ping(), "ping");
}

TEST_P(Transport, AKickBeforeDriverOkIsServedAfterIt) {
  bench->negotiate(bench->offered());
  auto& driver = bench->add_queue(0, 16);
  const auto out = bench->guest.allocate(4);
  driver.add({{bench->guest.place("ping"), 4, false}, {out, 4, true}});
  bench->kick(0);
  bench->settle();
  EXPECT_EQ(echo->processed, 0);
  EXPECT_EQ(driver.used_index(), 0);
  bench->set_driver_ok();
  ASSERT_TRUE(bench->wait_used(0));
  EXPECT_EQ(bench->guest.text(out, 4), "ping");
}

TEST_P(Transport, ADeviceThatCannotStartNeedsAReset) {
  echo->fail_activation = true;
  bench->negotiate(bench->offered());
  bench->add_queue(0, 16);
  bench->set_driver_ok();
  EXPECT_EQ(bench->status(), 79U);
  EXPECT_TRUE(bench->logged("as the test wants"));
  echo->fail_activation = false;
  echo->fail_start = true;
  bench->start(1);
  EXPECT_EQ(bench->status(), 79U);
  echo->fail_start = false;
  bench->start(1);
  EXPECT_EQ(ping(), "ping");
}

TEST_P(Transport, AQueueIsResetAndSetUpAgainWhileTheDeviceRuns) {
  bench->start(2);
  EXPECT_EQ(ping(), "ping");
  bench->reset_queue(0);
  EXPECT_FALSE(bench->queue_enabled(0));
  bench->settle();
  EXPECT_FALSE(echo->queues[0]);
  EXPECT_EQ(ping(1), "ping") << "the other goes on";
  bench->add_queue(0, 8);
  EXPECT_TRUE(bench->queue_enabled(0));
  EXPECT_EQ(ping(), "ping");
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(Transport, AQueueIsNotResetWithoutTheFeature) {
  bench->start(1, 16, abi::f_ring_reset);
  bench->reset_queue(0);
  EXPECT_TRUE(bench->queue_enabled(0));
  EXPECT_EQ(ping(), "ping");
}

TEST_P(Transport, CarriesRequestsOverEveryRing) {
  for (const std::uint64_t unwanted :
       {abi::f_ring_packed | abi::f_in_order, abi::f_in_order, abi::f_ring_packed, std::uint64_t{0}}) {
    bench->unwanted = unwanted;
    bench->start(2);
    for (int i = 0; i < 40; ++i) EXPECT_EQ(ping(static_cast<unsigned>(i % 2)), "ping") << unwanted;
    bench->reset_queue(0);
    bench->add_queue(0, 8);
    EXPECT_EQ(ping(), "ping") << "where a fresh ring begins";
    EXPECT_EQ(bench->status(), 15U);
  }
}

TEST_P(Transport, APackedRingMayHaveAnySize) {
  bench->unwanted = 0;
  bench->start(1, 13);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(ping(), "ping");
}

TEST_P(Transport, NobodyWaitsForALoopThatHasEnded) {
  bench->start(1);
  bench->stop_loop();
  bench->set_status(0);
  EXPECT_EQ(bench->status(), 0U);
  bench->start(1);
  EXPECT_EQ(bench->status(), 79U) << "it cannot be activated";
}

TEST_P(Transport, ALoopThatEndsReleasesWhoWaits) {
  bench->start(1);
  std::promise<void> stuck;
  std::promise<void> go;
  boost::asio::post(bench->loop, [&] {
    stuck.set_value();
    go.get_future().wait();
    bench->loop.stop();
  });
  stuck.get_future().wait();
  std::thread vcpu([&] { bench->set_status(0); });
  go.set_value();
  vcpu.join();
  EXPECT_EQ(bench->status(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Homes, Transport, ::testing::Values(Home::mmio, Home::pci),
                         [](const auto& home) { return std::string(name(home.param)); });

}  // namespace
}  // namespace trivet::test
