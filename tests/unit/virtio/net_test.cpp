// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <ctime>
#include <thread>

#include "net_fixture.hpp"

namespace trivet::test {
namespace {

using namespace std::chrono_literals;

abi::NetHeader header_of(const std::string& text) {
  abi::NetHeader header;
  std::memcpy(&header, text.data(), sizeof header);
  return header;
}
std::string no_header() {
  return bytes_of(abi::NetHeader{});
}

TEST_P(NetTest, OffersWhatTheBackendAndItCan) {
  ASSERT_NO_FATAL_FAILURE(make({.mtu = 9000, .speed = 10000}));
  const auto base = abi::net_f_mac | abi::net_f_status | abi::net_f_mrg_rxbuf | abi::net_f_ctrl_vq |
                    abi::net_f_ctrl_rx | abi::net_f_ctrl_rx_extra | abi::net_f_ctrl_vlan | abi::net_f_ctrl_mac_addr |
                    abi::net_f_guest_announce;
  EXPECT_EQ(bench->offered() & abi::device_features, base | abi::net_f_mtu | abi::net_f_speed_duplex |
                                                         abi::net_f_ctrl_guest_offloads | abi::net_guest_offloads |
                                                         abi::net_host_offloads | abi::net_f_guest_hdrlen);
  abi::NetConfig config{};
  bench->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
  EXPECT_EQ(std::memcmp(config.mac, own_mac.bytes.data(), 6), 0);
  EXPECT_EQ(config.status.value(), abi::net_s_link_up);
  EXPECT_EQ(config.max_virtqueue_pairs.value(), 1);
  EXPECT_EQ(config.mtu.value(), 9000);
  EXPECT_EQ(config.speed.value(), 10000U);
  EXPECT_EQ(config.duplex, 1);
  EXPECT_EQ(bench->config<std::uint32_t>(200), 0U);

  ASSERT_NO_FATAL_FAILURE(make({.offloads = false}, 4));
  EXPECT_EQ(bench->offered() & abi::device_features, base | abi::net_f_mq);
}

TEST_P(NetTest, CarriesFramesBothWays) {
  ASSERT_NO_FATAL_FAILURE(start());
  offer({1526});
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, "hello")));
  const auto got = received();
  EXPECT_EQ(got.substr(12), frame_to(own_mac, "hello"));
  EXPECT_EQ(header_of(got).num_buffers.value(), 1);

  transmit(no_header() + frame_to(virtio::mac_broadcast, "world"));
  EXPECT_EQ(arrived(), no_header() + frame_to(virtio::mac_broadcast, "world"));
  const auto used = bench->wait_used(1);
  ASSERT_TRUE(used);
  EXPECT_EQ(used->written, 0U);
}

TEST_P(NetTest, AnyLayoutOfHeaderAndFrame) {
  ASSERT_NO_FATAL_FAILURE(make());
  bench->start(3, 32);
  const auto frame = frame_to(own_mac, std::string(100, 'x') + "end");
  transmit(no_header() + frame, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  EXPECT_EQ(arrived().substr(12), frame);
  transmit(no_header() + frame, {12});
  EXPECT_EQ(arrived().substr(12), frame);
  transmit(no_header() + frame, {5, 30});
  EXPECT_EQ(arrived().substr(12), frame);

  offer({1, 2, 3, 4, 5, 6, 7, 8, 9, 1500});
  ASSERT_NO_FATAL_FAILURE(send(frame));
  EXPECT_EQ(received().substr(12), frame);
  offer({12, 200});
  ASSERT_NO_FATAL_FAILURE(send(frame));
  EXPECT_EQ(received().substr(12), frame);
}

TEST_P(NetTest, MergesReceiveBuffers) {
  ASSERT_NO_FATAL_FAILURE(start());
  std::string payload;
  for (int i = 0; i < 5000; ++i) payload += static_cast<char>('a' + i % 23);
  const auto frame = frame_to(own_mac, payload);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) offer({1526});
    ASSERT_NO_FATAL_FAILURE(send(frame));
    auto all = received();
    EXPECT_EQ(header_of(all).num_buffers.value(), 4);
    for (int i = 1; i < 4; ++i) all += received();
    EXPECT_EQ(all.substr(12), frame);
  }
  // The smallest buffers that the driver may give: one holds the header alone.
  for (int i = 0; i < 5; ++i) offer({12});
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, std::string(30, 'y'))));
  std::string all;
  for (int i = 0; i < 5; ++i) all += received();
  EXPECT_EQ(all.substr(12), frame_to(own_mac, std::string(30, 'y')));
  EXPECT_EQ(header_of(all).num_buffers.value(), 5);
}

TEST_P(NetTest, AFrameWaitsForTheBuffersThatItStillNeeds) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto frame = frame_to(own_mac, std::string(4000, 'z') + "end");
  offer({1526});
  ASSERT_NO_FATAL_FAILURE(send(frame));
  EXPECT_TRUE(nothing_received());
  offer({1526});
  EXPECT_TRUE(nothing_received());
  offer({1526});
  auto all = received();
  EXPECT_EQ(header_of(all).num_buffers.value(), 3);
  all += received();
  all += received();
  EXPECT_EQ(all.substr(12), frame);
}

TEST_P(NetTest, WithoutMergingAFrameThatDoesNotFitIsLost) {
  ASSERT_NO_FATAL_FAILURE(start({}, abi::net_f_mrg_rxbuf));
  offer({100});
  offer({1526});
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, std::string(200, 'z'))));
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, "short")));
  const auto got = received();
  EXPECT_EQ(got.substr(12), frame_to(own_mac, "short"));
  EXPECT_EQ(header_of(got).num_buffers.value(), 1);
}

TEST_P(NetTest, AFrameLargerThanTheWholeRingIsLost) {
  ASSERT_NO_FATAL_FAILURE(start());
  for (int i = 0; i < 16; ++i) offer({100});
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, std::string(2000, 'z'))));
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, "short")));
  EXPECT_EQ(received().substr(12), frame_to(own_mac, "short"));
}

TEST_P(NetTest, BuffersInTooManyPiecesLoseTheFrameAndNoTime) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto at = bench->guest.allocate(64);
  const std::vector<Driver::Buffer> pieces(16, {at, 4, true});
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(bench->queue(0).add_indirect(pieces));
  bench->kick(0);
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, std::string(2000, 'z'))));
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, "short")));
  ASSERT_TRUE(bench->wait_used(0));
  // A frame that was kept for buffers which are there but cannot be taken would have it try for ever.
  const auto before = ::clock();
  std::this_thread::sleep_for(100ms);
  EXPECT_LT(::clock() - before, CLOCKS_PER_SEC / 20);
}

TEST_P(NetTest, FramesWaitInTheNetworkForBuffers) {
  ASSERT_NO_FATAL_FAILURE(start());
  for (int i = 0; i < 5; ++i) ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, std::to_string(i))));
  bench->settle();
  for (int i = 0; i < 5; ++i) {
    offer({1526});
    EXPECT_EQ(received().substr(12), frame_to(own_mac, std::to_string(i)));
  }
  EXPECT_TRUE(bench->logged().empty());
}

TEST_P(NetTest, FramesWaitInTheQueueForTheNetwork) {
  ASSERT_NO_FATAL_FAILURE(start());
  int taken = 0;
  const auto frame = no_header() + frame_to(own_mac, std::string(3000, 'q'));
  while (taken < 4000) {
    transmit(frame);
    if (!bench->wait_used(1, 50ms)) break;
    ++taken;
  }
  ASSERT_LT(taken, 4000) << "a socket holds no end of frames";
  transmit(frame);
  for (int i = 0; i < taken + 2; ++i) ASSERT_EQ(arrived(), frame) << i;
  EXPECT_TRUE(bench->wait_used(1));
  EXPECT_TRUE(bench->wait_used(1));
  EXPECT_TRUE(bench->logged().empty());
}

TEST_P(NetTest, ASegmentOf64KiBGoesBothWays) {
  ASSERT_NO_FATAL_FAILURE(start());
  abi::NetHeader header{};
  header.flags = abi::net_hdr_f_needs_csum;
  header.gso_type = abi::net_hdr_gso_tcpv4;
  header.gso_size = 1448;
  header.csum_start = 34;
  header.csum_offset = 16;
  const auto frame = frame_to(own_mac, std::string(65000, 's') + "end");
  transmit(bytes_of(header) + frame, {12, 20000, 20000});
  EXPECT_EQ(arrived(), bytes_of(header) + frame);

  offer({65562});
  ASSERT_NO_FATAL_FAILURE(send(frame, header));
  const auto got = received();
  EXPECT_EQ(got.substr(12), frame);
  EXPECT_EQ(header_of(got).gso_type, abi::net_hdr_gso_tcpv4);
  EXPECT_EQ(header_of(got).flags, abi::net_hdr_f_needs_csum);
}

TEST_P(NetTest, WhatWasNotNegotiatedIsNotSent) {
  ASSERT_NO_FATAL_FAILURE(start({}, abi::net_guest_offloads | abi::net_host_offloads));
  abi::NetHeader checksum{};
  checksum.flags = abi::net_hdr_f_needs_csum;
  transmit(bytes_of(checksum) + frame_to(own_mac));
  abi::NetHeader segments{};
  segments.gso_type = abi::net_hdr_gso_tcpv4;
  segments.gso_size = 1000;
  transmit(bytes_of(segments) + frame_to(own_mac));
  abi::NetHeader odd{};
  odd.flags = 0xfe;
  transmit(bytes_of(odd) + frame_to(own_mac, "fine"));
  EXPECT_EQ(arrived(), no_header() + frame_to(own_mac, "fine")) << "bits that mean nothing are not passed on";
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(bench->wait_used(1));

  offer({1526});
  checksum.flags = 2;  // DATA_VALID
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac), checksum));
  EXPECT_EQ(header_of(received()).flags, 0);
  offer({1526});
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, "in segments"), segments));
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, "whole")));
  EXPECT_EQ(received().substr(12), frame_to(own_mac, "whole"));
}

TEST_P(NetTest, BrokenHeadersLoseOnlyTheirFrames) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto lose = [&](auto change) {
    abi::NetHeader header{};
    change(header);
    transmit(bytes_of(header) + frame_to(own_mac, "lost"));
    EXPECT_TRUE(bench->wait_used(1));
  };
  lose([](auto& it) { it.gso_type = 3; });  // UFO
  lose([](auto& it) { it.gso_type = 77; });
  lose([](auto& it) { it.gso_type = abi::net_hdr_gso_ecn; });
  lose([](auto& it) { it.gso_type = abi::net_hdr_gso_tcpv4; });  // segments of no size
  lose([](auto& it) { it.gso_type = abi::net_hdr_gso_udp_l4 | abi::net_hdr_gso_ecn; });
  lose([](auto& it) { it.flags = 1, it.csum_start = 1000; });
  lose([](auto& it) { it.flags = 1, it.csum_start = 65535, it.csum_offset = 65535; });
  transmit(no_header());
  EXPECT_TRUE(bench->wait_used(1)) << "an empty frame";
  transmit(no_header() + std::string(100000, 'h'));
  EXPECT_TRUE(bench->wait_used(1)) << "a huge one";
  transmit(no_header() + frame_to(own_mac, "fine"));
  EXPECT_EQ(arrived().substr(12), frame_to(own_mac, "fine"));
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(NetTest, ChainsWithoutAHeaderNeedAReset) {
  ASSERT_NO_FATAL_FAILURE(start());
  transmit(std::string(11, '\0'));
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
  EXPECT_TRUE(bench->logged("header"));
  bench->start(3);
  offer({11});
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset)) << "no room for the header";
  bench->start(3);
  ASSERT_TRUE(bench->queue(1).add({{{0xffff0000}, 100, false}}));
  bench->kick(1);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset)) << "no memory";
  bench->start(3);
  ASSERT_TRUE(bench->queue(0).add({{{0xffff0000}, 0x7fffffff, true}}));
  bench->kick(0);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset)) << "no memory";
  bench->start(3);
  transmit(no_header() + frame_to(own_mac));
  EXPECT_EQ(arrived().substr(12), frame_to(own_mac));
}

TEST_P(NetTest, MarksWhatWasReceivedAsDirty) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto at = bench->guest.allocate(3 * 4096, 4096);
  ASSERT_TRUE(bench->queue(0).add({{at, 3 * 4096, true}}));
  bench->kick(0);
  bench->settle();
  const auto memory = bench->device_memory();
  auto* dirty = memory->find(at)->dirty();
  ASSERT_NE(dirty, nullptr);
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, std::string(5000, 'd'))));
  ASSERT_TRUE(bench->wait_used(0));
  EXPECT_TRUE(dirty->is_dirty(at.value / 4096));
  EXPECT_TRUE(dirty->is_dirty(at.value / 4096 + 1));
  EXPECT_FALSE(dirty->is_dirty(at.value / 4096 + 2));
}

TEST_P(NetTest, ResetAndQueueResetWhileFramesWait) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto large = frame_to(own_mac, std::string(4000, 'z'));
  offer({1526});
  ASSERT_NO_FATAL_FAILURE(send(large));
  EXPECT_TRUE(nothing_received());
  bench->reset_queue(0);
  bench->add_queue(0, 16);
  offer({1526});
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, "after")));
  EXPECT_EQ(received().substr(12), frame_to(own_mac, "after"));
  bench->set_status(0);
  bench->start(3);
  offer({1526});
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, "anew")));
  EXPECT_EQ(received().substr(12), frame_to(own_mac, "anew"));
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(NetTest, AnnouncesAndUnplugs) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto before = bench->generation();
  net->announce();
  EXPECT_TRUE(bench->take_config_change());
  EXPECT_NE(bench->generation(), before);
  EXPECT_EQ(bench->config<std::uint16_t>(6), abi::net_s_link_up | abi::net_s_announce);
  EXPECT_EQ(command(abi::net_ctrl_announce, abi::net_ctrl_announce_ack, ""), abi::net_ok);
  EXPECT_EQ(bench->config<std::uint16_t>(6), abi::net_s_link_up);
  EXPECT_EQ(command(abi::net_ctrl_announce, abi::net_ctrl_announce_ack, ""), abi::net_err);

  net->set_link(false);
  EXPECT_TRUE(bench->take_config_change());
  EXPECT_EQ(bench->config<std::uint16_t>(6), 0);
  transmit(no_header() + frame_to(own_mac, "to nobody"));
  EXPECT_TRUE(bench->wait_used(1));
  offer({1526});
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, "later")));
  EXPECT_TRUE(nothing_received());
  net->set_link(true);
  EXPECT_EQ(received().substr(12), frame_to(own_mac, "later"));
  EXPECT_EQ(arrived(0, 20), "");

  bench->start(3, 16, abi::net_f_guest_announce);
  net->announce();
  EXPECT_EQ(bench->config<std::uint16_t>(6), abi::net_s_link_up) << "nobody who could answer";
}

TEST_P(NetTest, ANetworkThatEndsIsSaidOnce) {
  socket_type = SOCK_SEQPACKET;
  ASSERT_NO_FATAL_FAILURE(start());
  offer({1526});
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, "last")));
  EXPECT_EQ(received().substr(12), frame_to(own_mac, "last"));
  outside.clear();
  offer({1526});
  EXPECT_TRUE(nothing_received());
  transmit(no_header() + frame_to(own_mac, "to nobody"));
  EXPECT_TRUE(bench->wait_used(1));
  EXPECT_EQ(bench->status(), 15U);
  EXPECT_EQ(bench->logged().size(), 1U);
  EXPECT_TRUE(bench->logged("receive from the network"));
}

TEST_P(NetTest, HoldsToItsRates) {
  virtio::NetOptions options;
  options.transmit.operations = {.per_second = 200, .burst = 2};
  options.receive.bytes = {.per_second = 20000, .burst = 100};
  ASSERT_NO_FATAL_FAILURE(start(options));
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 12; ++i) transmit(no_header() + frame_to(own_mac, std::to_string(i)));
  for (int i = 0; i < 12; ++i) EXPECT_EQ(arrived().substr(12), frame_to(own_mac, std::to_string(i)));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 45ms);

  const auto then = std::chrono::steady_clock::now();
  for (int i = 0; i < 6; ++i) {
    offer({1526});
    ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac, std::string(186, 'r'))));  // 200 bytes
  }
  for (int i = 0; i < 6; ++i) EXPECT_EQ(received().size(), 212U);
  EXPECT_GE(std::chrono::steady_clock::now() - then, 44ms);
}

INSTANTIATE_TEST_SUITE_P(Homes, NetTest, ::testing::ValuesIn(all_homes),
                         [](const auto& home) { return std::string(name(home.param)); });

TEST(NetCreate, NamesTheOptionOutOfBounds) {
  const auto refusal = [](virtio::NetOptions options) {
    if (options.mac.is_zero()) options.mac = own_mac;
    std::array<int, 2> pair{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM, 0, pair.data()), 0);
    const UniqueFd other(pair[0]);
    std::vector<UniqueFd> fds;
    fds.emplace_back(pair[1]);
    auto made = virtio::Net::create(std::move(*virtio::PacketFds::create(std::move(fds), 0)), options);
    return made ? std::string() : to_string(made.error());
  };
  EXPECT_EQ(refusal({}), "");
  EXPECT_NE(refusal({.mac = virtio::mac_broadcast}).find("mac"), std::string::npos);
  EXPECT_NE(refusal({.mtu = 67}).find("mtu"), std::string::npos);
  EXPECT_NE(refusal({.queue_size = 100}).find("queue_size"), std::string::npos);
  EXPECT_NE(refusal({.receive = {.bytes = {.per_second = ~0ULL}}}).find("rate"), std::string::npos);
  EXPECT_FALSE(virtio::Net::create(nullptr, {.mac = own_mac}));
  EXPECT_FALSE(virtio::PacketFds::create({}, 0));
  std::array<int, 2> stream{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, stream.data()), 0);
  const UniqueFd other(stream[0]);
  std::vector<UniqueFd> fds;
  fds.emplace_back(stream[1]);
  EXPECT_EQ(virtio::PacketFds::create(std::move(fds), 0).error().code(), Errc::invalid_argument);
}

}  // namespace
}  // namespace trivet::test
