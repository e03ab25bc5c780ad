// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Much through several vsock connections at once, both ways at once, with credit that must come by itself and fewer
// buffers than packets.
#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "vsock_bench.hpp"

namespace trivet::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t bulk = 400'000;
constexpr std::uint32_t held_for_host = 16384;   // by the guest
constexpr std::uint32_t held_for_guest = 16384;  // by the device
constexpr std::uint32_t message = 7000;

std::string pattern(std::size_t bytes, unsigned seed) {
  std::string text(bytes, '\0');
  for (auto& byte : text) {
    seed = seed * 1664525 + 1013904223;
    byte = static_cast<char>(seed >> 24);
  }
  return text;
}

/// Where they do; all of the bytes would be a page.
std::string differ(const std::string& got, const std::string& wanted) {
  if (got == wanted) return "";
  const auto at = std::ranges::mismatch(got, wanted).in1 - got.begin();
  return std::to_string(got.size()) + " bytes of " + std::to_string(wanted.size()) + ", right up to " +
         std::to_string(at);
}

/// Both ends of one connection: the host's program sends and receives on threads of its own, as the guest's does in the
/// test.
struct Bulk {
  Bulk(unsigned number, std::uint16_t packet_type, UniqueFd socket)
      : guest_port(2000 + number),
        type(packet_type),
        program(std::move(socket)),
        up(pattern(bulk, number)),
        down(pattern(bulk, number + 100)) {}
  /// Once all are connected.
  void begin() {
    writer = std::thread([this] {
      for (std::size_t at = 0; at < down.size(); at += message) {
        const auto bytes = std::min<std::size_t>(message, down.size() - at);
        for (std::size_t done = 0; done < bytes;) {
          const auto some = ::send(program.value(), down.data() + at + done, bytes - done, MSG_NOSIGNAL);
          if (some <= 0) return;
          done += static_cast<std::size_t>(some);
        }
      }
      (void)::shutdown(program.value(), SHUT_WR);
    });
    reader = std::thread([this] {
      std::string part(message, '\0');
      for (;;) {
        const auto got = ::recv(program.value(), part.data(), part.size(), 0);
        ended = got == 0;
        if (got <= 0) return;
        arrived.append(part, 0, static_cast<std::size_t>(got));
      }
    });
  }
  ~Bulk() {
    (void)::shutdown(program.value(), SHUT_RDWR);
    if (writer.joinable()) writer.join();
    if (reader.joinable()) reader.join();
  }
  Bulk(const Bulk&) = delete;
  Bulk& operator=(const Bulk&) = delete;

  [[nodiscard]] bool done() const { return said_end && host_ended; }
  [[nodiscard]] std::uint32_t host_port() const { return type == abi::vsock_type_stream ? 9 : 10; }
  [[nodiscard]] VsockPacket packet(std::uint16_t op) {
    told = static_cast<std::uint32_t>(received.size());
    return {.op = op,
            .guest_port = guest_port,
            .host_port = host_port(),
            .type = type,
            .buf_alloc = held_for_host,
            .fwd_cnt = told};
  }
  /// What the guest sends next, if it may: data, its end, or credit as Linux gives it, when there is little left.
  std::optional<VsockPacket> next() {
    const auto room = held_for_guest - (sent - forwarded);
    if (sent < up.size() && room != 0) {
      const auto to_end = message - sent % message;
      const auto bytes = std::min({room, 3001U, to_end, static_cast<std::uint32_t>(up.size()) - sent});
      auto data = packet(abi::vsock_op_rw);
      data.data = up.substr(sent, bytes);
      sent += bytes;
      if (type == abi::vsock_type_seqpacket && (bytes == to_end || sent == up.size()))
        data.flags = abi::vsock_seq_end_of_message;
      return data;
    }
    if (sent == up.size() && !said_end) {
      said_end = true;
      auto end = packet(abi::vsock_op_shutdown);
      end.flags = abi::vsock_shutdown_send;
      return end;
    }
    if (asked || received.size() - told > held_for_host / 2) {
      asked = false;
      return packet(abi::vsock_op_credit_update);
    }
    return std::nullopt;
  }
  void hear(const VsockPacket& said) {
    forwarded = said.fwd_cnt;
    received += said.data;
    EXPECT_LE(received.size() - told, held_for_host) << "more than there is room for";
    if (said.op == abi::vsock_op_credit_request) asked = true;
    if (said.op == abi::vsock_op_shutdown && (said.flags & abi::vsock_shutdown_send) != 0) host_ended = true;
    EXPECT_NE(said.op, abi::vsock_op_rst);
  }

  std::uint32_t guest_port;
  std::uint16_t type;
  UniqueFd program;
  std::string up, down;
  std::string received;  // by the guest
  std::string arrived;   // at the host
  bool ended = false;
  std::uint32_t sent = 0, forwarded = 0, told = 0;
  bool asked = false, said_end = false, host_ended = false;
  std::thread writer, reader;
};

struct VsockBulk : VsockBench {
  /// Four connections until both ends of each have had all, and the other's end.
  void exchange(std::uint16_t type) {
    ASSERT_NO_FATAL_FAILURE(start({.buffer_size = held_for_guest}, 3));
    std::vector<std::unique_ptr<Bulk>> all;
    for (unsigned i = 0; i < 4; ++i) {
      all.push_back(std::make_unique<Bulk>(i, type, connect_guest(2000 + i, type, held_for_host)));
    }
    for (auto& one : all) one->begin();
    const auto done = [&] { return std::ranges::all_of(all, [](const auto& one) { return one->done(); }); };
    while (!done()) {
      bool idle = true;
      for (auto& one : all) {
        if (auto out = one->next()) {
          ASSERT_NO_FATAL_FAILURE(send(*out));
          idle = false;
        }
      }
      // With nothing to send, whatever is missing must come by itself.
      while (const auto said = packet(idle ? std::chrono::milliseconds(20s) : 0ms)) {
        ASSERT_GE(said->guest_port, 2000U);
        ASSERT_LT(said->guest_port, 2004U);
        all[said->guest_port - 2000]->hear(*said);
        idle = false;
        if (done()) break;
      }
      ASSERT_FALSE(idle) << "a stall";
    }
    for (auto& one : all) {
      EXPECT_EQ(differ(one->received, one->down), "");
      one->reader.join();
      EXPECT_TRUE(one->ended);
      EXPECT_EQ(differ(one->arrived, one->up), "");
    }
    EXPECT_EQ(bench->status(), 15U);
  }
};

TEST_P(VsockBulk, FourStreamsBothWaysAtOnce) {
  exchange(abi::vsock_type_stream);
}

TEST_P(VsockBulk, FourConnectionsOfMessagesBothWaysAtOnce) {
  exchange(abi::vsock_type_seqpacket);
}

INSTANTIATE_TEST_SUITE_P(Homes, VsockBulk, ::testing::ValuesIn(all_homes),
                         [](const auto& home) { return std::string(name(home.param)); });

}  // namespace
}  // namespace trivet::test
