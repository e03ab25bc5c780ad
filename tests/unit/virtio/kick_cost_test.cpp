// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What a kick may cost: a second processor of the guest makes chains available as fast as the device uses them, and the
// device turns to others after about one ring of them (Device::process).
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>

#include <trivet/memory/access.hpp>
#include <trivet/test/driver.hpp>
#include <trivet/test/temp_file.hpp>
#include <trivet/virtio/abi/console.hpp>
#include <trivet/virtio/abi/vsock.hpp>
#include <trivet/virtio/balloon.hpp>
#include <trivet/virtio/block.hpp>
#include <trivet/virtio/console.hpp>
#include <trivet/virtio/net.hpp>
#include <trivet/virtio/raw_disk.hpp>
#include <trivet/virtio/rng.hpp>
#include <trivet/virtio/vsock.hpp>

namespace trivet::test {
namespace {

namespace abi = virtio::abi;

constexpr std::uint16_t ring_size = 64;

/// Takes every frame at once.
class Sink final : public virtio::NetBackend {
 public:
  [[nodiscard]] const virtio::NetInfo& info() const noexcept override { return info_; }
  Result<void> start(boost::asio::any_io_executor /*executor*/, virtio::NetClient& /*client*/) override { return {}; }
  Result<void> set_offloads(std::uint64_t /*offloads*/) noexcept override { return {}; }
  Result<void> use_pairs(unsigned /*pairs*/) noexcept override { return {}; }
  virtio::NetIo send(unsigned /*pair*/, std::span<const iovec> frame) noexcept override {
    std::size_t bytes = 0;
    for (const auto& part : frame) bytes += part.iov_len;
    return {bytes, 0};
  }
  virtio::NetIo receive(unsigned /*pair*/, std::span<const iovec> /*room*/) noexcept override { return {0, EAGAIN}; }
  void wait_to_send(unsigned /*pair*/) noexcept override {}
  void wait_to_receive(unsigned /*pair*/) noexcept override {}
  void stop() noexcept override {}

 private:
  virtio::NetInfo info_;
};

struct Quiet final : virtio::Notifier {
  void used(unsigned) noexcept override {}
  void config_changed() noexcept override {}
  void driver_fault(const Error& error) noexcept override { ADD_FAILURE() << to_string(error); }
  void host_error(const Error& error) noexcept override { ADD_FAILURE() << to_string(error); }
  void wake(unsigned) noexcept override { ++more; }
  int more = 0;
};

/// A device, one of its queues, and what its driver sends there.
struct Subject {
  const char* name;
  std::uint16_t queue;
  std::function<std::unique_ptr<virtio::Device>(const TempFile&)> make;
  std::function<std::vector<Driver::Buffer>(TestGuest&)> chain;
  std::uint64_t features = 0;
  std::function<void(virtio::Device&, TestGuest&)> prepare = {};  // once the queue is there
};

Driver::Buffer out(TestGuest& guest, ConstBytes content) {
  return {guest.place(content), static_cast<std::uint32_t>(content.size()), false};
}
Driver::Buffer room(TestGuest& guest, std::uint32_t bytes) {
  return {guest.allocate(bytes), bytes, true};
}
constexpr std::array<std::byte, 128> zeros{};

const std::array subjects{
    Subject{"rng", 0, [](const TempFile&) { return *virtio::Rng::create(); },
            [](TestGuest& guest) { return std::vector{room(guest, 16)}; }},
    Subject{"block", 0,
            [](const TempFile& file) {
              return *virtio::Block::create(
                  *virtio::create_backend(*virtio::RawDisk::open(file.path(), {}), virtio::DiskEngine::plain));
            },
            [](TestGuest& guest) {
              return std::vector{out(guest, std::span(zeros).first(16)), room(guest, 512), room(guest, 1)};
            }},
    Subject{"console", 1, [](const TempFile&) { return *virtio::Console::create({}); },
            [](TestGuest& guest) { return std::vector{out(guest, zeros)}; }},
    Subject{"console_empty", 1, [](const TempFile&) { return *virtio::Console::create({}); },
            [](TestGuest& guest) { return std::vector{room(guest, 16)}; }},
    Subject{"console_input", 0,
            [](const TempFile&) {
              static std::array<int, 2> pair{};  // one byte waits for a buffer that holds it
              if (pair[0] == 0 && ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) std::abort();
              if (::send(pair[1], "x", 1, MSG_NOSIGNAL) != 1) std::abort();
              return *virtio::Console::create({.input_fd = pair[0]});
            },
            [](TestGuest& guest) { return std::vector{out(guest, zeros)}; }},
    Subject{"console_control", abi::console_control_receive_queue,
            [](const TempFile& file) {
              return *virtio::Console::create({.ports = {{.name = "agent", .socket = file.path() + ".port"}}});
            },
            [](TestGuest& guest) { return std::vector{room(guest, 1)}; }, abi::console_f_multiport,
            [](virtio::Device& device, TestGuest& guest) {
              abi::ConsoleControl ready{};
              ready.event = abi::console_device_ready;
              ready.value = 1;
              Driver driver(guest, 4);
              ASSERT_TRUE(driver.add({out(guest, std::as_bytes(std::span(&ready, 1)))}));
              auto config = driver.config();
              config.index = abi::console_control_transmit_queue;
              ASSERT_TRUE(device.start_queue(*virtio::Queue::create(config, guest.map())));
              ASSERT_TRUE(device.process(config.index));
            }},
    Subject{"net", 1,
            [](const TempFile&) {
              return *virtio::Net::create(std::make_unique<Sink>(), {.mac = {{0x52, 0x54, 0, 1, 2, 3}}});
            },
            [](TestGuest& guest) { return std::vector{out(guest, zeros)}; }},
    Subject{"balloon", 0, [](const TempFile&) { return *virtio::Balloon::create({}); },
            [](TestGuest& guest) { return std::vector{out(guest, std::span(zeros).first(4))}; }},
    Subject{"vsock", 1, [](const TempFile& file) { return *virtio::Vsock::create({.path = file.path() + ".vsock"}); },
            [](TestGuest& guest) {
              abi::VsockHeader header{};
              header.src_cid = 3;
              header.dst_cid = abi::vsock_host_cid;
              header.type = abi::vsock_type_stream;
              header.op = abi::vsock_op_rst;
              return std::vector{out(guest, std::as_bytes(std::span(&header, 1)))};
            }},
};

struct KickCost : ::testing::TestWithParam<Subject> {
  KickCost() {
    const auto chain = GetParam().chain(guest);
    // All of them at once; from now on the driver only moves its index on.
    for (int i = 0; i < ring_size; ++i) EXPECT_TRUE(driver.add_indirect(chain));
    auto config = driver.config();
    config.index = GetParam().queue;
    EXPECT_TRUE(device->activate({abi::f_version_1 | GetParam().features, &notifier, loop.get_executor()}));
    EXPECT_TRUE(device->start_queue(*virtio::Queue::create(config, guest.map())));
    if (GetParam().prepare) GetParam().prepare(*device, guest);
  }
  ~KickCost() override { device->reset(); }

  [[nodiscard]] std::uint16_t used_index() const {
    return *guest.memory().load<std::uint16_t>({driver.device_area().value + 2}, std::memory_order_acquire);
  }
  void set_available_index(std::uint16_t index) {
    EXPECT_TRUE(
        guest.memory().store<std::uint16_t>({driver.driver_area().value + 2}, index, std::memory_order_release));
  }

  const TempFile file{std::vector<std::byte>(4096)};
  TestGuest guest;
  Driver driver{guest, ring_size, abi::f_indirect_desc};
  boost::asio::io_context loop{1};
  Quiet notifier;
  std::unique_ptr<virtio::Device> device = GetParam().make(file);
};

TEST_P(KickCost, IsARingOfChainsHoweverManyFollow) {
  std::atomic<std::uint16_t> begin{0};  // of the kick that is served
  std::atomic<bool> done{false};
  // It gives up after eight rings in one kick, so that a device that goes on and on is seen to.
  std::thread other_processor([&] {
    while (!done) {
      const auto used = used_index();
      if (static_cast<std::uint16_t>(used - begin) < 8 * ring_size) {
        set_available_index(static_cast<std::uint16_t>(used + ring_size));
      }
    }
  });
  const auto serve = [&](auto kick) {
    const auto before = used_index();
    begin = before;
    kick();
    const auto served = static_cast<std::uint16_t>(used_index() - before);
    EXPECT_LE(served, ring_size);
  };
  const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (notifier.more < 3 && !HasFailure() && std::chrono::steady_clock::now() < late) {
    serve([&] {
      const auto more = device->process(GetParam().queue);
      ASSERT_TRUE(more) << to_string(more.error());
      if (*more == virtio::More::yes) ++notifier.more;
    });
    serve([&] { loop.poll_one(); });
  }
  done = true;
  other_processor.join();
  EXPECT_GE(notifier.more, 3) << "the other processor is no match for this device";
}

INSTANTIATE_TEST_SUITE_P(Devices, KickCost, ::testing::ValuesIn(subjects),
                         [](const auto& subject) { return std::string(subject.param.name); });

}  // namespace
}  // namespace trivet::test
