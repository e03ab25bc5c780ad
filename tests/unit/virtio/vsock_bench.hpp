// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstring>
#include <deque>
#include <filesystem>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <trivet/core/unique_fd.hpp>
#include <trivet/test/homes.hpp>
#include <trivet/virtio/abi/vsock.hpp>
#include <trivet/virtio/vsock.hpp>

namespace trivet::test {

namespace abi = virtio::abi;

/// A packet of either direction, with its data.
struct VsockPacket {
  std::uint16_t op = 0;
  std::uint32_t guest_port = 0;
  std::uint32_t host_port = 0;
  std::string data = {};
  std::uint16_t type = abi::vsock_type_stream;
  std::uint32_t flags = 0;
  std::uint32_t buf_alloc = 1 << 20;
  std::uint32_t fwd_cnt = 0;
  std::uint64_t guest_cid = 3;
  std::uint64_t host_cid = 2;
  std::optional<std::uint32_t> len = std::nullopt;  ///< what the header says, where that is not the truth
};

/// A vsock device with a driver's side that speaks packets, and Unix sockets for the host's.
class VsockBench : public ::testing::TestWithParam<Home> {
 protected:
  static constexpr std::uint32_t buffer = 4096;
  static constexpr std::uint16_t rings = 128;

  VsockBench() {
    std::string pattern = (std::filesystem::temp_directory_path() / "vsock.XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    folder = pattern;
    path = folder + "/v";
  }
  ~VsockBench() override {
    bench.reset();
    EXPECT_FALSE(std::filesystem::exists(path)) << "the device takes its socket away";
    std::filesystem::remove_all(folder);
  }

  void start(virtio::VsockOptions options = {}, unsigned buffers = 8, std::uint64_t without = 0) {
    options.path = path;
    auto made = virtio::Vsock::create(options);
    ASSERT_TRUE(made) << to_string(made.error());
    vsock = made->get();
    bench = make_bench(GetParam(), std::move(*made));
    bench->start(3, rings, without);
    offer(buffers);
  }
  void offer(unsigned count, std::uint32_t size = buffer) {
    for (unsigned i = 0; i < count; ++i) offer_at(bench->guest.allocate(size), size);
    kick(0);
  }
  void kick(unsigned queue) {
    if (bench->queue(queue).must_kick()) bench->kick(queue);
  }

  /// The next packet for the guest; its buffer is offered again.
  std::optional<VsockPacket> packet(std::chrono::milliseconds at_most = std::chrono::seconds(20), bool again = true) {
    const auto used = bench->wait_used(0, at_most);
    if (!used) return std::nullopt;
    const auto [at, size] = places.at(static_cast<std::uint16_t>(used->id));
    const auto header = *bench->guest.memory().read_object<abi::VsockHeader>(at);
    EXPECT_EQ(used->written, sizeof header + header.len.value());
    VsockPacket said;
    said.op = header.op.value();
    said.guest_port = header.dst_port.value();
    said.host_port = header.src_port.value();
    said.type = header.type.value();
    said.flags = header.flags.value();
    said.buf_alloc = header.buf_alloc.value();
    said.fwd_cnt = header.fwd_cnt.value();
    said.guest_cid = header.dst_cid.value();
    said.host_cid = header.src_cid.value();
    said.data = bench->guest.text({at.value + sizeof header}, header.len.value());
    if (again) {
      offer_at(at, size);
      kick(0);
    }
    return said;
  }
  /// The next packet's operation; 0 when none comes.
  std::uint16_t next_op(std::chrono::milliseconds at_most = std::chrono::seconds(20)) {
    const auto said = packet(at_most);
    return said ? said->op : std::uint16_t{0};
  }
  /// That nothing comes.
  [[nodiscard]] bool silent() { return !packet(std::chrono::milliseconds(20)); }

  /// Makes a packet available, in one buffer or in pieces of `cut` bytes.
  void put(const VsockPacket& packet, std::uint32_t cut = 0) {
    abi::VsockHeader header{};
    header.src_cid = packet.guest_cid;
    header.dst_cid = packet.host_cid;
    header.src_port = packet.guest_port;
    header.dst_port = packet.host_port;
    header.len = packet.len.value_or(static_cast<std::uint32_t>(packet.data.size()));
    header.type = packet.type;
    header.op = packet.op;
    header.flags = packet.flags;
    header.buf_alloc = packet.buf_alloc;
    header.fwd_cnt = packet.fwd_cnt;
    if (transmit_at.value == 0) transmit_at = bench->guest.allocate((64 << 10) + sizeof header);
    ASSERT_TRUE(bench->guest.memory().write_object(transmit_at, header));
    ASSERT_TRUE(
        bench->guest.memory().write({transmit_at.value + sizeof header}, std::as_bytes(std::span(packet.data))));
    const auto bytes = static_cast<std::uint32_t>(sizeof header + packet.data.size());
    std::vector<Driver::Buffer> buffers;
    for (std::uint32_t at = 0; at < bytes; at += cut == 0 ? bytes : cut) {
      buffers.push_back({{transmit_at.value + at}, std::min(cut == 0 ? bytes : cut, bytes - at), false});
    }
    ASSERT_TRUE(buffers.size() > 1 ? bench->queue(1).add_indirect(buffers) : bench->queue(1).add(buffers));
    kick(1);
  }
  void send(const VsockPacket& packet, std::uint32_t cut = 0) {
    ASSERT_NO_FATAL_FAILURE(put(packet, cut));
    ASSERT_TRUE(bench->wait_used(1));
  }

  // --- the host's programs ---

  [[nodiscard]] static sockaddr_un address(const std::string& at) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, at.c_str(), sizeof address.sun_path - 1);
    return address;
  }
  static UniqueFd bounded(int fd) {
    const timeval limit{20, 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return UniqueFd(fd);
  }
  UniqueFd listen_on(std::uint32_t port, int type = SOCK_STREAM) {
    auto fd = bounded(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    const auto where = address(path + "_" + std::to_string(port));
    EXPECT_EQ(::bind(fd.value(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
    EXPECT_EQ(::listen(fd.value(), 8), 0);
    return fd;
  }
  static UniqueFd accept_on(const UniqueFd& listener) {
    return bounded(::accept4(listener.value(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  UniqueFd connect_to(const std::string& at, int type = SOCK_STREAM) {
    auto fd = bounded(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    const auto where = address(at);
    EXPECT_EQ(::connect(fd.value(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
    return fd;
  }
  static void write_to(const UniqueFd& fd, const std::string& text) {
    EXPECT_EQ(::send(fd.value(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  static std::string read_from(const UniqueFd& fd, std::size_t bytes, int flags = MSG_WAITALL) {
    std::string text(bytes, '\0');
    const auto got = ::recv(fd.value(), text.data(), bytes, flags);
    text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return got < 0 ? "nothing" : text;
  }

  /// A guest's connection to the host's port 9, as the host's program has it.
  UniqueFd connect_guest(std::uint32_t guest_port = 1000, std::uint16_t type = abi::vsock_type_stream,
                         std::uint32_t buf_alloc = 1 << 20) {
    const int kind = type == abi::vsock_type_stream ? SOCK_STREAM : SOCK_SEQPACKET;
    auto& listener = listeners[kind];
    if (!listener.valid()) listener = listen_on(kind == SOCK_STREAM ? 9 : 10, kind);
    VsockPacket request{abi::vsock_op_request, guest_port, kind == SOCK_STREAM ? 9U : 10U};
    request.type = type;
    request.buf_alloc = buf_alloc;
    send(request);
    EXPECT_EQ(next_op(), abi::vsock_op_response);
    return accept_on(listener);
  }

  std::string folder, path;
  virtio::Vsock* vsock = nullptr;
  std::unique_ptr<DeviceBench> bench;
  GuestAddress transmit_at{0};
  std::map<int, UniqueFd> listeners;

 private:
  void offer_at(GuestAddress at, std::uint32_t size) {
    const auto head = bench->queue(0).add({{at, size, true}});
    ASSERT_TRUE(head);
    places[*head] = {at, size};
  }

  std::map<std::uint16_t, std::pair<GuestAddress, std::uint32_t>> places;
};

}  // namespace trivet::test
