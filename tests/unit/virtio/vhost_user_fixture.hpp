// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <chrono>
#include <filesystem>
#include <future>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <trivet/core/event.hpp>
#include <trivet/test/vhost_user_front_end.hpp>
#include <trivet/test/vhost_user_server.hpp>

#include "test_device.hpp"

namespace trivet::test {

namespace wire = vhost_user::abi;

/// Descriptors that this process has.
inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// A server with an EchoDevice of two queues, and a connection to it that says what the test wants.
struct VhostUserTest : ::testing::Test {
  static constexpr std::uint64_t page = 4096;
  static constexpr std::uint64_t memory_size = 16 * page;
  /// Where the front end sees what the guest has at 0.
  static constexpr std::uint64_t user = 0x7f0000000000;
  static constexpr std::uint64_t features = virtio::abi::f_version_1 | wire::f_protocol_features | EchoDevice::feature;

  VhostUserTest() : work(loop.get_executor()), thread([this] { loop.run(); }) {}
  ~VhostUserTest() override {
    loop.stop();
    thread.join();
    server.reset();
  }

  void make(std::uint64_t protocol_features = vhost_user::all_protocol_features) {
    auto echo = std::make_unique<EchoDevice>();
    device = echo.get();
    auto [ours, theirs] = vhost_user::FrontEnd::sockets();
    auto made = vhost_user::Server::create(
        std::move(echo), std::move(theirs),
        {.executor = loop.get_executor(),
         .log = [this](const Error& error) { note(error); },
         .ended = [this](const Result<void>& why) { over.set_value(why ? "" : to_string(why.error())); },
         .protocol_features = protocol_features});
    ASSERT_TRUE(made) << to_string(made.error());
    server = std::move(*made);
    front_end = std::make_unique<vhost_user::FrontEnd>(std::move(ours));
    memory.reset(::memfd_create("guest", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(memory.value(), memory_size), 0);
  }
  void connect(std::uint64_t protocol_features = vhost_user::all_protocol_features) {
    ASSERT_NO_FATAL_FAILURE(make());
    const auto done = front_end->connect(protocol_features);
    ASSERT_TRUE(done) << to_string(done.error());
  }
  /// Up to a first ring that lacks its kick.
  void prepare(std::uint32_t queue = 0) {
    accept(front_end->tell(wire::Request::set_features, features));
    accept(set_table({region(0, 16)}));
    place(queue);
  }
  void place(std::uint32_t queue) {
    accept(front_end->tell(wire::Request::set_vring_num, queue, 8));
    accept(front_end->tell(wire::Request::set_vring_base, queue, 0));
    accept(front_end->tell(wire::Request::set_vring_addr, address(queue)));
  }
  void run(std::uint32_t queue = 0) {
    accept(front_end->set_event(wire::Request::set_vring_kick, queue, kick.fd()));
    accept(front_end->tell(wire::Request::set_vring_enable, queue, 1));
    accept(front_end->tell(wire::Request::set_status, std::uint64_t{15}));
  }
  static void accept(const Result<void>& done) { ASSERT_TRUE(done) << to_string(done.error()); }

  /// A region of so many pages from this one, at the same place of the memory's descriptor.
  static wire::MemoryRegion region(std::uint64_t first, std::uint64_t pages) {
    return {first * page, pages * page, user + first * page, first * page};
  }
  Result<void> set_table(const std::vector<wire::MemoryRegion>& regions) {
    std::vector<int> files(regions.size(), memory.value());
    std::vector<std::byte> payload(sizeof(wire::MemoryTable) + regions.size() * sizeof(wire::MemoryRegion));
    const wire::MemoryTable table{static_cast<std::uint32_t>(regions.size()), 0};
    std::memcpy(payload.data(), &table, sizeof table);
    if (!regions.empty()) {
      std::memcpy(payload.data() + sizeof table, regions.data(), regions.size() * sizeof(wire::MemoryRegion));
    }
    return front_end->tell(wire::Request::set_mem_table, ConstBytes(payload), files);
  }
  /// Each part of a queue's ring begins a page.
  static wire::VringAddress address(std::uint32_t queue) {
    const auto at = user + (1 + 3 * queue) * page;
    return {queue, 0, at, at + 2 * page, at + page, 0};
  }

  /// The connection is over, and this is what it was for.
  void expect_refused(const std::string& why) {
    EXPECT_TRUE(front_end->wait_end());
    auto future = over.get_future();
    ASSERT_EQ(future.wait_for(std::chrono::seconds(20)), std::future_status::ready);
    const auto said = future.get();
    EXPECT_NE(said.find(why), std::string::npos) << said;
  }
  void note(const Error& error) {
    const std::lock_guard lock(mutex);
    log.push_back(to_string(error));
  }

  boost::asio::io_context loop{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
  std::thread thread;
  EchoDevice* device = nullptr;
  std::unique_ptr<vhost_user::Server> server;
  std::unique_ptr<vhost_user::FrontEnd> front_end;
  std::promise<std::string> over;
  UniqueFd memory;
  Event kick = *Event::create();
  std::mutex mutex;
  std::vector<std::string> log;
};

}  // namespace trivet::test
