// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>
#include <memory>
#include <string>

#include <trivet/test/homes.hpp>

#include "test_device.hpp"

namespace trivet::test {
namespace {

namespace abi = virtio::abi;
namespace wire = vhost_user::abi;
using namespace std::chrono_literals;

/// A device that copies, behind the harness, with a VMM and a driver before it; over split rings, and over packed ones.
struct VhostUser : ::testing::TestWithParam<bool> {
  void make(std::uint64_t protocol_features = vhost_user::all_protocol_features) {
    auto echo = std::make_unique<EchoDevice>();
    device = echo.get();
    bench = std::make_unique<VhostUserBench>(std::move(echo), false, protocol_features);
    if (GetParam()) bench->unwanted = 0;
  }
  void send(unsigned queue, char letter) {
    const auto at = bench->guest.allocate(1);
    echoes.push_back(at);
    ASSERT_TRUE(bench->queue(queue).add({{bench->guest.place(std::string(1, letter)), 1, false}, {at, 1, true}}));
    bench->kick(queue);
  }
  /// Sends a letter and gets it back.
  bool works(unsigned queue = 0) {
    send(queue, 'x');
    return bench->wait_used(queue).has_value() && bench->guest.text(echoes.back(), 1) == "x";
  }
  void break_ring() {
    const auto at = bench->guest.allocate(2);
    bench->queue(0).add({{at, 1, true}, {{at.value + 1}, 1, false}});
    bench->kick(0);
  }

  EchoDevice* device = nullptr;
  std::unique_ptr<VhostUserBench> bench;
  std::vector<GuestAddress> echoes;
};

TEST_P(VhostUser, CarriesRequests) {
  make();
  bench->start(2);
  EXPECT_TRUE(works(0));
  EXPECT_TRUE(works(1));
  EXPECT_EQ(bench->status(), 15U);
  EXPECT_EQ(device->activation.features & EchoDevice::feature, EchoDevice::feature);
  EXPECT_EQ(device->activation.features & wire::f_protocol_features, 0U) << "none of the device's";
  bench->set_status(0);
  EXPECT_EQ(device->resets, 1);
  bench->start(1);
  EXPECT_TRUE(works());
  EXPECT_TRUE(bench->logged().empty());
}

TEST_P(VhostUser, WithoutProtocolFeaturesRingsRunAtOnce) {
  make(0);
  bench->start(1);
  EXPECT_TRUE(works());
  bench->set_status(0);
  bench->start(1);
  EXPECT_TRUE(works());
}

TEST_P(VhostUser, OffersWhatTheDeviceAndItsRingsCan) {
  make();
  const auto offered = bench->offered();
  EXPECT_EQ(offered & abi::device_features, EchoDevice::feature);
  for (const auto bit :
       {abi::f_version_1, abi::f_indirect_desc, abi::f_event_idx, abi::f_ring_packed, abi::f_ring_reset}) {
    EXPECT_NE(offered & bit, 0U) << bit;
  }
  EXPECT_EQ(bench->front_end->ask_number(wire::Request::get_queue_num).value(), 2U);
  EXPECT_EQ(bench->front_end->ask_number(wire::Request::get_protocol_features).value(),
            vhost_user::all_protocol_features);
}

TEST_P(VhostUser, AFaultIsInTheStatusAndAResetRecovers) {
  make();
  bench->start(1);
  break_ring();
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
  EXPECT_TRUE(bench->logged("queue 0"));
  EXPECT_NE(*bench->front_end->ask_number(wire::Request::get_status) & abi::status_needs_reset, 0U);
  bench->start(1);
  EXPECT_EQ(bench->status(), 15U);
  EXPECT_TRUE(works());
}

TEST_P(VhostUser, WithoutStatusAFaultIsAnErrorEventAndItsRingsEndRecovers) {
  for (const auto without : {wire::protocol_f_status, wire::protocol_f_status | wire::protocol_f_reset_device}) {
    make(vhost_user::all_protocol_features & ~without);
    bench->start(2);
    break_ring();
    EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
    const auto processed = device->processed.load();
    bench->kick(1);
    bench->settle();
    EXPECT_EQ(device->processed, processed) << "the device rests";
    bench->start(1);
    EXPECT_TRUE(works());
    EXPECT_EQ(bench->status(), 15U);
  }
}

TEST_P(VhostUser, AQueueGoesOnWhereItWas) {
  make();
  bench->start(2);
  for (int i = 0; i < 21; ++i) EXPECT_TRUE(works());  // into the ring's second round
  bench->pause_queue(0);
  send(0, 'p');
  EXPECT_FALSE(bench->wait_used(0, 10ms)) << "it is stopped";
  EXPECT_TRUE(works(1)) << "and the other is not";
  bench->resume_queue(0);
  EXPECT_TRUE(bench->wait_used(0)) << "without another kick";
  EXPECT_TRUE(works());
  EXPECT_EQ(device->activations, 1);
}

TEST_P(VhostUser, AQueueIsResetAndSetUpAgain) {
  make();
  bench->start(2);
  EXPECT_TRUE(works());
  bench->reset_queue(0);
  EXPECT_TRUE(works(1));
  bench->add_queue(0, 8);
  EXPECT_TRUE(works());
}

TEST_P(VhostUser, TellsOfChangesWhileARingRunsAndOfThoseBeforeThen) {
  make();
  bench->start(1);
  device->activation.notifier->config_changed();
  EXPECT_TRUE(bench->take_config_change());
  EXPECT_FALSE(bench->take_config_change());
  bench->pause_queue(0);
  device->activation.notifier->config_changed();
  EXPECT_FALSE(bench->take_config_change()) << "a suspended device says nothing";
  bench->resume_queue(0);
  EXPECT_TRUE(bench->take_config_change());
}

TEST_P(VhostUser, WithoutItsChannelNobodyIsTold) {
  make(vhost_user::all_protocol_features & ~wire::protocol_f_backend_req);
  bench->start(1);
  device->activation.notifier->config_changed();
  EXPECT_FALSE(bench->take_config_change());
  EXPECT_TRUE(works());
}

TEST_P(VhostUser, MemoryComesAndGoesWhileItRuns) {
  make();
  bench->start(1);
  const GuestRange range{{1ULL << 32}, 65536};
  bench->add_memory(range);
  ASSERT_TRUE(bench->queue(0).add({{bench->guest.place("m"), 1, false}, {range.start, 1, true}}));
  bench->kick(0);
  ASSERT_TRUE(bench->wait_used(0));
  EXPECT_EQ(*bench->guest.map()->snapshot()->load<std::uint8_t>(range.start), 'm');
  bench->remove_memory(range);
  EXPECT_TRUE(works());
  ASSERT_TRUE(bench->queue(0).add({{bench->guest.place("m"), 1, false}, {range.start, 1, true}}));
  bench->kick(0);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset)) << "it is the guest's no more";
}

TEST_P(VhostUser, NotificationsGoWhereTheyWereLastSentTo) {
  make();
  bench->start(1);
  EXPECT_TRUE(works());
  const auto other = *Event::create();
  ASSERT_TRUE(bench->front_end->set_event(wire::Request::set_vring_call, 0, other.fd()));
  const auto before = bench->line.count();
  ASSERT_FALSE(bench->queue(0).enable_notifications());
  send(0, 'y');
  for (int i = 0; i < 1000 && bench->queue(0).used_index() != 2; ++i) std::this_thread::sleep_for(1ms);
  bench->settle();
  EXPECT_EQ(bench->line.count(), before);
  EXPECT_EQ(other.take(), 1U);
  ASSERT_TRUE(bench->front_end->set_event(wire::Request::set_vring_call, 0, -1));
  ASSERT_TRUE(bench->queue(0).take_used());
  ASSERT_FALSE(bench->queue(0).enable_notifications());
  send(0, 'z');
  for (int i = 0; i < 1000 && bench->queue(0).used_index() != 3; ++i) std::this_thread::sleep_for(1ms);
  bench->settle();
  EXPECT_EQ(other.take(), 0U) << "the driver polls";
}

INSTANTIATE_TEST_SUITE_P(Rings, VhostUser, ::testing::Values(false, true),
                         [](const auto& it) { return it.param ? "Packed" : "Split"; });

}  // namespace
}  // namespace trivet::test
