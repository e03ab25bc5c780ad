// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>
#include <memory>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <trivet/core/event.hpp>
#include <trivet/test/driver.hpp>
#include <trivet/virtio/device_host.hpp>

#include "test_device.hpp"

namespace trivet::test {
namespace {

struct Home final : virtio::DeviceHome {
  void used(unsigned) noexcept override { ++used_count; }
  void config_changed() noexcept override { ++config_count; }
  void needs_reset() noexcept override { ++fault_count; }
  int used_count = 0;
  int config_count = 0;
  int fault_count = 0;
};

/// A host whose loop the test turns by hand: all calls come from the loop's own thread.
struct DeviceHost : ::testing::Test {
  DeviceHost() : driver(guest, 16), kick(*Event::create()) {
    host = std::make_unique<virtio::DeviceHost>(device, loop.get_executor(), home,
                                                [this](const Error& error) { log.push_back(to_string(error)); });
  }
  ~DeviceHost() override { loop.stop(); }

  /// Runs `work` on the loop, and all that comes of it.
  template <class Work>
  void on_loop(Work work) {
    boost::asio::post(loop, work);
    loop.restart();
    loop.poll();
  }
  void turn() {
    loop.restart();
    loop.poll();
  }
  void start() {
    on_loop([&] {
      std::vector<virtio::DeviceHost::Start> starts;
      starts.push_back({driver.queue(), kick.fd()});
      const auto done = host->activate(0, std::move(starts));
      ASSERT_TRUE(done) << to_string(done.error());
    });
  }
  void send() { ASSERT_TRUE(driver.add({{guest.place("x"), 1, false}, {guest.allocate(1), 1, true}})); }

  boost::asio::io_context loop{1};
  TestGuest guest;
  Driver driver;
  Event kick;
  EchoDevice device;
  Home home;
  std::vector<std::string> log;
  std::unique_ptr<virtio::DeviceHost> host;
};

TEST_F(DeviceHost, ServesWhatWasThereBeforeItStarted) {
  send();
  start();
  EXPECT_EQ(driver.used_index(), 1);
}

TEST_F(DeviceHost, AKickIsServedUntilThereIsNoMore) {
  start();
  for (int i = 0; i < 5; ++i) send();
  kick.signal();
  turn();
  EXPECT_EQ(driver.used_index(), 5);
  EXPECT_EQ(kick.take(), 0U) << "the kicks were taken";
  send();
  kick.signal();
  turn();
  EXPECT_EQ(driver.used_index(), 6);
}

TEST_F(DeviceHost, AGuestErrorIsOneFault) {
  device.fail_process = Error::malformed("process", "as the test wants");
  start();
  for (int i = 0; i < 5; ++i) {
    kick.signal();
    turn();
  }
  EXPECT_EQ(home.fault_count, 1);
  EXPECT_EQ(device.processed, 1);
  ASSERT_EQ(log.size(), 1U);
  EXPECT_NE(log[0].find("echo: as the test wants"), std::string::npos) << log[0];
}

TEST_F(DeviceHost, HostErrorsLeaveTheDeviceAndAreLoggedEverMoreSeldom) {
  device.fail_process = Error::from_errno(EIO, "process");
  start();
  for (int i = 0; i < 1000; ++i) {
    kick.signal();
    turn();
  }
  EXPECT_EQ(home.fault_count, 0);
  EXPECT_GE(device.processed, 1000);
  EXPECT_GE(log.size(), 8U);
  EXPECT_LE(log.size(), 16U);
  device.fail_process.reset();
  send();
  kick.signal();
  turn();
  EXPECT_EQ(driver.used_index(), 1);
}

TEST_F(DeviceHost, AQueueComesBackWithItsPlace) {
  start();
  send();
  kick.signal();
  turn();
  on_loop([&] {
    auto queue = host->stop_queue(0);
    ASSERT_TRUE(queue && *queue);
    EXPECT_EQ((*queue)->config().next_available, 1);
    EXPECT_FALSE(host->stop_queue(0)->has_value());
    send();
    ASSERT_TRUE(host->start_queue({std::move(**queue), kick.fd()}));
  });
  EXPECT_EQ(driver.used_index(), 2);
}

TEST_F(DeviceHost, RefusesWhatIsOutOfOrder) {
  on_loop([&] { EXPECT_EQ(host->start_queue({driver.queue(), kick.fd()}).error().code(), Errc::bad_state); });
  start();
  on_loop([&] {
    EXPECT_EQ(host->activate(0, {}).error().code(), Errc::bad_state);
    EXPECT_EQ(host->start_queue({driver.queue(), kick.fd()}).error().code(), Errc::bad_state);
  });
}

TEST_F(DeviceHost, ADescriptorThatCannotBeWatchedIsAnError) {
  on_loop([&] {
    std::vector<virtio::DeviceHost::Start> starts;
    starts.push_back({driver.queue(), 9999});
    EXPECT_FALSE(host->activate(0, std::move(starts)));
    EXPECT_EQ(device.resets, 1);
  });
}

TEST_F(DeviceHost, KicksOfADeviceThatIsGoneDoNothing) {
  start();
  host->kick(0);
  kick.signal();
  host.reset();
  turn();
  EXPECT_EQ(device.resets, 1);
}

TEST_F(DeviceHost, ALoopThatHasEndedIsAnError) {
  loop.stop();
  EXPECT_EQ(host->activate(0, {}).error().code(), Errc::bad_state);
  EXPECT_EQ(host->stop_queue(0).error().code(), Errc::bad_state);
  host->reset();

  virtio::DeviceHost on_strand(device, boost::asio::make_strand(loop), home, {});
  EXPECT_FALSE(on_strand.activate(0, {}));
  virtio::DeviceHost on_any(device, boost::asio::make_strand(boost::asio::any_io_executor(loop.get_executor())), home,
                            {});
  EXPECT_FALSE(on_any.activate(0, {}));
}

TEST_F(DeviceHost, AResetThatCouldNotBeDoneIsDoneBeforeTheNextActivation) {
  start();
  loop.stop();
  host->reset();
  EXPECT_EQ(device.resets, 0);
  send();
  kick.signal();
  turn();
  EXPECT_EQ(driver.used_index(), 0) << "it rests";
  start();
  EXPECT_EQ(device.resets, 1);
  EXPECT_EQ(driver.used_index(), 1);
}

}  // namespace
}  // namespace trivet::test
