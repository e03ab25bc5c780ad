// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <trivet/core/unique_fd.hpp>
#include <trivet/test/homes.hpp>
#include <trivet/virtio/abi/net.hpp>
#include <trivet/virtio/net.hpp>
#include <trivet/virtio/packet_fds.hpp>

namespace trivet::test {

namespace abi = virtio::abi;

/// A network on sockets that tells what it is commanded.
class TestNet final : public virtio::NetBackend {
 public:
  struct Commands {
    std::atomic<std::uint64_t> offloads{~std::uint64_t{0}};
    std::atomic<unsigned> pairs{0};
    std::atomic<bool> refuse{false};
  };
  TestNet(std::unique_ptr<virtio::PacketFds> fds, std::shared_ptr<Commands> commands)
      : fds_(std::move(fds)), commands_(std::move(commands)) {}

  [[nodiscard]] const virtio::NetInfo& info() const noexcept override { return fds_->info(); }
  Result<void> start(boost::asio::any_io_executor executor, virtio::NetClient& client) override {
    return fds_->start(std::move(executor), client);
  }
  Result<void> set_offloads(std::uint64_t offloads) noexcept override {
    if (commands_->refuse) return Error(Errc::io, "set offloads", "as the test wants", Blame::host);
    commands_->offloads = offloads;
    return {};
  }
  Result<void> use_pairs(unsigned pairs) noexcept override {
    if (commands_->refuse) return Error(Errc::io, "use pairs", "as the test wants", Blame::host);
    commands_->pairs = pairs;
    return fds_->use_pairs(pairs);
  }
  virtio::NetIo send(unsigned pair, std::span<const iovec> frame) noexcept override { return fds_->send(pair, frame); }
  virtio::NetIo receive(unsigned pair, std::span<const iovec> room) noexcept override {
    return fds_->receive(pair, room);
  }
  void wait_to_send(unsigned pair) noexcept override { fds_->wait_to_send(pair); }
  void wait_to_receive(unsigned pair) noexcept override { fds_->wait_to_receive(pair); }
  void stop() noexcept override { fds_->stop(); }

 private:
  std::unique_ptr<virtio::PacketFds> fds_;
  std::shared_ptr<Commands> commands_;
};

inline constexpr virtio::MacAddress own_mac{{0x52, 0x54, 0, 1, 2, 3}};

inline std::string text_of(const virtio::MacAddress& mac) {
  return {mac.bytes.begin(), mac.bytes.end()};
}
template <class T>
std::string bytes_of(const T& object) {
  const auto bytes = std::as_bytes(std::span(&object, 1));
  std::string text;
  for (const auto byte : bytes) text += std::to_integer<char>(byte);
  return text;
}

/// An Ethernet frame.
inline std::string frame_to(const virtio::MacAddress& to, const std::string& payload = "payload") {
  return text_of(to) + text_of({{2, 0, 0, 0, 0, 9}}) + std::string("\x88\xb5", 2) + payload;
}

/// A network device on sockets; what is on its cable is `outside`, one a pair.
struct NetTest : ::testing::TestWithParam<Home> {
  ~NetTest() override { bench.reset(); }

  void make(virtio::NetOptions options = {}, unsigned pairs = 1,
            std::uint64_t offloads = abi::net_guest_offloads | abi::net_host_offloads) {
    bench.reset();
    outside.clear();
    std::vector<UniqueFd> insides;
    for (unsigned i = 0; i < pairs; ++i) {
      std::array<int, 2> pair{};
      ASSERT_EQ(::socketpair(AF_UNIX, socket_type | SOCK_CLOEXEC, 0, pair.data()), 0);
      outside.emplace_back(pair[0]);
      insides.emplace_back(pair[1]);
    }
    auto fds = virtio::PacketFds::create(std::move(insides), offloads);
    ASSERT_TRUE(fds) << to_string(fds.error());
    if (options.mac.is_zero()) options.mac = own_mac;
    auto made = virtio::Net::create(std::make_unique<TestNet>(std::move(*fds), commands), options);
    ASSERT_TRUE(made) << to_string(made.error());
    net = made->get();
    bench = make_bench(GetParam(), std::move(*made), true);
  }
  void start(virtio::NetOptions options = {}, std::uint64_t without = 0) {
    ASSERT_NO_FATAL_FAILURE(make(options));
    bench->start(3, 16, without);
  }

  /// \name The cable
  /// @{
  void send(const std::string& frame, abi::NetHeader header = {}, unsigned pair = 0) {
    const auto text = bytes_of(header) + frame;
    ASSERT_EQ(::send(outside[pair].value(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }
  /// Header and frame; empty when none came.
  std::string arrived(unsigned pair = 0, int at_most_ms = 5000) {
    pollfd wait{outside[pair].value(), POLLIN, 0};
    if (::poll(&wait, 1, at_most_ms) != 1) return {};
    std::string text(virtio::net_most_frame, '\0');
    const auto got = ::recv(outside[pair].value(), text.data(), text.size(), 0);
    text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return text;
  }
  /// @}

  /// \name The driver
  /// @{
  void offer(std::initializer_list<std::uint32_t> sizes, unsigned queue = 0) {
    std::vector<Driver::Buffer> buffers;
    for (const auto size : sizes) buffers.push_back({bench->guest.allocate(size), size, true});
    const auto head = bench->queue(queue).add(buffers);
    ASSERT_TRUE(head);
    offered[queue][*head] = buffers;
    if (bench->queue(queue).must_kick()) bench->kick(queue);
  }
  /// What is in the next buffer that came back, header and all.
  std::string received(unsigned queue = 0, std::chrono::milliseconds at_most = std::chrono::seconds(20)) {
    const auto used = bench->wait_used(queue, at_most);
    if (!used) return "nothing";
    std::string text;
    auto left = used->written;
    for (const auto& buffer : offered[queue][static_cast<std::uint16_t>(used->id)]) {
      const auto part = std::min(left, buffer.length);
      text += bench->guest.text(buffer.address, part);
      left -= part;
    }
    return text;
  }
  bool nothing_received(unsigned queue = 0) { return received(queue, std::chrono::milliseconds(20)) == "nothing"; }
  /// In pieces of these sizes; the rest in a last one.
  void transmit(const std::string& text, std::initializer_list<std::uint32_t> sizes = {}, unsigned queue = 1) {
    std::vector<Driver::Buffer> buffers;
    std::size_t at = 0;
    for (const auto size : sizes) {
      buffers.push_back({bench->guest.place(text.substr(at, size)), size, false});
      at += size;
    }
    if (at < text.size()) {
      buffers.push_back({bench->guest.place(text.substr(at)), static_cast<std::uint32_t>(text.size() - at), false});
    }
    ASSERT_TRUE(buffers.size() > 4 ? bench->queue(queue).add_indirect(buffers) : bench->queue(queue).add(buffers));
    if (bench->queue(queue).must_kick()) bench->kick(queue);
  }
  /// The status byte of a control command.
  int command(std::uint8_t command_class, std::uint8_t number, const std::string& data, unsigned queue = 2) {
    const std::string header{static_cast<char>(command_class), static_cast<char>(number)};
    const auto status = bench->guest.allocate(1);
    std::vector<Driver::Buffer> buffers{{bench->guest.place(header), 2, false}};
    if (!data.empty()) {
      buffers.push_back({bench->guest.place(data), static_cast<std::uint32_t>(data.size()), false});
    }
    buffers.push_back({status, 1, true});
    EXPECT_TRUE(bench->queue(queue).add(buffers));
    bench->kick(queue);
    const auto used = bench->wait_used(queue);
    if (!used || used->written != 1) return -1;
    return bench->guest.text(status, 1)[0];
  }
  /// @}

  std::shared_ptr<TestNet::Commands> commands = std::make_shared<TestNet::Commands>();
  int socket_type = SOCK_DGRAM;
  std::vector<UniqueFd> outside;
  virtio::Net* net = nullptr;
  std::unique_ptr<DeviceBench> bench;
  std::map<unsigned, std::map<std::uint16_t, std::vector<Driver::Buffer>>> offered;
};

}  // namespace trivet::test
