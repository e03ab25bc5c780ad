// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "net_fixture.hpp"

namespace trivet::test {

/// The same device; its own suite.
struct NetControlTest : NetTest {
  /// Whether a frame to this address reaches the driver.
  bool gets(const virtio::MacAddress& to) { return gets_frame(frame_to(to)); }
  bool gets_frame(const std::string& frame) {
    send(frame);
    send(frame_to(own_mac, "marker"));  // which always comes, after it
    const auto first = received();
    offer({1526});
    if (first.substr(12) == frame_to(own_mac, "marker")) return false;
    EXPECT_EQ(first.substr(12), frame);
    EXPECT_EQ(received().substr(12), frame_to(own_mac, "marker"));
    offer({1526});
    return true;
  }
  static std::string table(const std::vector<virtio::MacAddress>& list) {
    abi::le32 count;
    count = static_cast<std::uint32_t>(list.size());
    auto text = bytes_of(count);
    for (const auto& mac : list) text += text_of(mac);
    return text;
  }
  int mode(std::uint8_t number, bool on) { return command(abi::net_ctrl_rx, number, std::string(1, on ? '\1' : '\0')); }
  static std::string tagged(std::uint16_t vlan) {
    return text_of(own_mac) + std::string(6, '\2') + std::string("\x81\0", 2) +
           std::string{static_cast<char>(vlan >> 8), static_cast<char>(vlan)} + std::string("\x88\xb5tagged");
  }
  void start_filtering(std::uint64_t without = 0) {
    ASSERT_NO_FATAL_FAILURE(start({}, without));
    for (int i = 0; i < 4; ++i) offer({1526});
  }
};

namespace {

constexpr virtio::MacAddress other{{0x52, 0x54, 0, 9, 9, 9}};
constexpr virtio::MacAddress group{{0x33, 0x33, 0, 0, 0, 1}};

TEST_P(NetControlTest, FiltersByAddress) {
  ASSERT_NO_FATAL_FAILURE(start_filtering());
  EXPECT_TRUE(gets(other)) << "all, until a mode is set";
  EXPECT_EQ(mode(abi::net_ctrl_rx_promisc, false), abi::net_ok);
  EXPECT_FALSE(gets(other));
  EXPECT_FALSE(gets(group));
  EXPECT_TRUE(gets(virtio::mac_broadcast));
  EXPECT_EQ(command(abi::net_ctrl_mac, abi::net_ctrl_mac_table_set, table({other}) + table({group})), abi::net_ok);
  EXPECT_TRUE(gets(other));
  EXPECT_TRUE(gets(group));
  EXPECT_FALSE(gets({{0x52, 0x54, 0, 9, 9, 8}}));
  EXPECT_EQ(command(abi::net_ctrl_mac, abi::net_ctrl_mac_table_set, table({}) + table({})), abi::net_ok);
  EXPECT_FALSE(gets(other));
  EXPECT_FALSE(gets(group));
  EXPECT_EQ(mode(abi::net_ctrl_rx_allmulti, true), abi::net_ok);
  EXPECT_TRUE(gets(group));
  EXPECT_FALSE(gets(other));
  EXPECT_EQ(mode(abi::net_ctrl_rx_alluni, true), abi::net_ok);
  EXPECT_TRUE(gets(other));
  EXPECT_EQ(mode(abi::net_ctrl_rx_nobcast, true), abi::net_ok);
  EXPECT_FALSE(gets(virtio::mac_broadcast));
  EXPECT_EQ(mode(abi::net_ctrl_rx_nomulti, true), abi::net_ok);
  EXPECT_FALSE(gets(group));
  EXPECT_EQ(mode(abi::net_ctrl_rx_promisc, true), abi::net_ok);
  EXPECT_TRUE(gets(group));
}

TEST_P(NetControlTest, ATableTooLongLetsAllOfItsKindPass) {
  ASSERT_NO_FATAL_FAILURE(start_filtering());
  EXPECT_EQ(mode(abi::net_ctrl_rx_promisc, false), abi::net_ok);
  const std::vector<virtio::MacAddress> many(65, virtio::MacAddress{{2, 0, 0, 0, 0, 1}});
  EXPECT_EQ(command(abi::net_ctrl_mac, abi::net_ctrl_mac_table_set, table(many) + table({})), abi::net_ok);
  EXPECT_TRUE(gets(other));
  EXPECT_FALSE(gets(group));
}

TEST_P(NetControlTest, FiltersByVlan) {
  ASSERT_NO_FATAL_FAILURE(start_filtering());
  EXPECT_EQ(mode(abi::net_ctrl_rx_promisc, false), abi::net_ok);
  EXPECT_FALSE(gets_frame(tagged(7)));
  EXPECT_EQ(command(abi::net_ctrl_vlan, abi::net_ctrl_vlan_add, std::string("\7\0", 2)), abi::net_ok);
  EXPECT_TRUE(gets_frame(tagged(7)));
  EXPECT_TRUE(gets_frame(tagged(0xe007))) << "the priority is not part of it";
  EXPECT_FALSE(gets_frame(tagged(8)));
  EXPECT_EQ(command(abi::net_ctrl_vlan, abi::net_ctrl_vlan_del, std::string("\7\0", 2)), abi::net_ok);
  EXPECT_FALSE(gets_frame(tagged(7)));
  EXPECT_EQ(command(abi::net_ctrl_vlan, abi::net_ctrl_vlan_add, std::string("\0\x10", 2)), abi::net_err);

  offered.clear();
  ASSERT_NO_FATAL_FAILURE(start_filtering(abi::net_f_ctrl_vlan));
  EXPECT_EQ(mode(abi::net_ctrl_rx_promisc, false), abi::net_ok);
  EXPECT_TRUE(gets_frame(tagged(7))) << "not negotiated: not filtered";
  EXPECT_EQ(command(abi::net_ctrl_vlan, abi::net_ctrl_vlan_add, std::string("\7\0", 2)), abi::net_err);
}

TEST_P(NetControlTest, TheDriverMayChooseItsAddressUntilAReset) {
  ASSERT_NO_FATAL_FAILURE(start_filtering());
  EXPECT_EQ(command(abi::net_ctrl_mac, abi::net_ctrl_mac_addr_set, text_of(other)), abi::net_ok);
  EXPECT_EQ(bench->config<std::uint8_t>(5), 9);
  EXPECT_EQ(mode(abi::net_ctrl_rx_promisc, false), abi::net_ok);
  send(frame_to(own_mac, "to the old"));
  send(frame_to(other, "to the new"));
  EXPECT_EQ(received().substr(12), frame_to(other, "to the new"));
  EXPECT_EQ(command(abi::net_ctrl_mac, abi::net_ctrl_mac_addr_set, text_of(group)), abi::net_err);
  EXPECT_EQ(command(abi::net_ctrl_mac, abi::net_ctrl_mac_addr_set, std::string(6, '\0')), abi::net_err);
  EXPECT_EQ(command(abi::net_ctrl_mac, abi::net_ctrl_mac_addr_set, std::string(5, '\2')), abi::net_err);
  bench->set_status(0);
  EXPECT_EQ(bench->config<std::uint8_t>(5), 3);
}

TEST_P(NetControlTest, GuestOffloadsAreThoseNegotiatedOrFewer) {
  ASSERT_NO_FATAL_FAILURE(start({}, abi::net_f_guest_tso6));
  EXPECT_EQ(commands->offloads, abi::net_guest_offloads & ~abi::net_f_guest_tso6);
  const auto set = [&](std::uint64_t offloads) {
    abi::le64 value;
    value = offloads;
    return command(abi::net_ctrl_guest_offloads, abi::net_ctrl_guest_offloads_set, bytes_of(value));
  };
  EXPECT_EQ(set(abi::net_f_guest_csum), abi::net_ok);
  EXPECT_EQ(commands->offloads, abi::net_f_guest_csum);
  EXPECT_EQ(set(0), abi::net_ok);
  EXPECT_EQ(commands->offloads, 0U);
  EXPECT_EQ(set(abi::net_f_guest_tso6), abi::net_err);
  EXPECT_EQ(set(abi::net_f_mrg_rxbuf), abi::net_err);
  EXPECT_EQ(commands->offloads, 0U);
  commands->refuse = true;
  EXPECT_EQ(set(abi::net_f_guest_csum), abi::net_err);
  EXPECT_TRUE(bench->logged("as the test wants"));
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(NetControlTest, QueuePairs) {
  ASSERT_NO_FATAL_FAILURE(make({}, 3));
  bench->start(7);
  EXPECT_EQ(bench->config<std::uint16_t>(8), 3);
  EXPECT_EQ(commands->pairs, 1U);
  const auto set = [&](std::uint16_t pairs) {
    return command(abi::net_ctrl_mq, abi::net_ctrl_mq_vq_pairs_set, std::string{static_cast<char>(pairs), '\0'}, 6);
  };
  const auto header = bytes_of(abi::NetHeader{});
  offer({1526}, 2);
  send(frame_to(own_mac, "early"), {}, 1);
  transmit(header + frame_to(own_mac, "early too"), {}, 3);
  EXPECT_TRUE(nothing_received(2)) << "the second pair is not in use";
  EXPECT_EQ(arrived(1, 20), "");
  EXPECT_EQ(set(0), abi::net_err);
  EXPECT_EQ(set(4), abi::net_err);
  EXPECT_EQ(set(3), abi::net_ok);
  EXPECT_EQ(commands->pairs, 3U);
  EXPECT_EQ(received(2).substr(12), frame_to(own_mac, "early"));
  EXPECT_EQ(arrived(1).substr(12), frame_to(own_mac, "early too"));
  for (unsigned pair = 0; pair < 3; ++pair) {
    offer({1526}, 2 * pair);
    send(frame_to(own_mac, std::to_string(pair)), {}, pair);
    EXPECT_EQ(received(2 * pair).substr(12), frame_to(own_mac, std::to_string(pair)));
    transmit(header + frame_to(other, std::to_string(pair)), {}, 2 * pair + 1);
    EXPECT_EQ(arrived(pair).substr(12), frame_to(other, std::to_string(pair)));
  }
  EXPECT_EQ(set(1), abi::net_ok);
  offer({1526}, 4);
  send(frame_to(own_mac, "late"), {}, 2);
  EXPECT_TRUE(nothing_received(4));
  EXPECT_EQ(set(3), abi::net_ok);
  EXPECT_EQ(received(4).substr(12), frame_to(own_mac, "late"));
}

TEST_P(NetControlTest, NoPairTakesAllOfARate) {
  virtio::NetOptions options;
  options.transmit.operations = {.per_second = 1000, .burst = 1};
  ASSERT_NO_FATAL_FAILURE(make(options, 2));
  bench->start(5, 64);
  ASSERT_EQ(command(abi::net_ctrl_mq, abi::net_ctrl_mq_vq_pairs_set, std::string("\2\0", 2), 4), abi::net_ok);
  for (int i = 0; i < 30; ++i) {
    for (const unsigned queue : {1U, 3U}) transmit(bytes_of(abi::NetHeader{}) + frame_to(other), {}, queue);
  }
  std::array<unsigned, 2> got{};
  while (got[0] + got[1] < 30) {
    for (const unsigned pair : {0U, 1U}) got.at(pair) += arrived(pair, 1).empty() ? 0 : 1;
  }
  EXPECT_GE(got[0], 5U);
  EXPECT_GE(got[1], 5U);
}

TEST_P(NetControlTest, WithoutMultiqueueTheControlQueueIsTheThird) {
  ASSERT_NO_FATAL_FAILURE(make({}, 3));
  bench->start(7, 16, abi::net_f_mq);
  EXPECT_EQ(mode(abi::net_ctrl_rx_promisc, false), abi::net_ok);
  EXPECT_EQ(command(abi::net_ctrl_mq, abi::net_ctrl_mq_vq_pairs_set, std::string("\1\0", 2)), abi::net_err);
  transmit(bytes_of(abi::NetHeader{}) + frame_to(other), {}, 5);
  EXPECT_EQ(arrived(2, 20), "");
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(NetControlTest, WhatIsNoCommandIsRefused) {
  ASSERT_NO_FATAL_FAILURE(start_filtering());
  const std::string one(1, '\1');
  EXPECT_EQ(command(9, 0, one), abi::net_err);
  EXPECT_EQ(command(255, 255, ""), abi::net_err);
  EXPECT_EQ(mode(6, true), abi::net_err);
  EXPECT_EQ(command(abi::net_ctrl_rx, 0, ""), abi::net_err);
  EXPECT_EQ(command(abi::net_ctrl_rx, 0, one + one), abi::net_err);
  EXPECT_EQ(command(abi::net_ctrl_rx, 0, "\2"), abi::net_err);
  EXPECT_EQ(command(abi::net_ctrl_mac, 2, text_of(other)), abi::net_err);
  for (const auto& data : {std::string("\1\0\0", 3), table({other}), table({other}) + "\1", std::string(8, '\xff'),
                           table({}) + std::string("\xff\xff\xff\xff", 4), table({}) + table({}) + "x"}) {
    EXPECT_EQ(command(abi::net_ctrl_mac, abi::net_ctrl_mac_table_set, data), abi::net_err) << data.size();
  }
  EXPECT_EQ(command(abi::net_ctrl_mq, 0, std::string("\1\0", 2)), abi::net_err) << "one pair: not negotiated";
  EXPECT_EQ(command(abi::net_ctrl_guest_offloads, 1, std::string(8, '\0')), abi::net_err);
  EXPECT_TRUE(gets(other)) << "nothing was changed";
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(NetControlTest, CommandsWithoutTheirPartsNeedAReset) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(bench->queue(2).add({{bench->guest.place("x"), 1, false}, {bench->guest.allocate(1), 1, true}}));
  bench->kick(2);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
  bench->start(3);
  ASSERT_TRUE(bench->queue(2).add({{bench->guest.place("xyz"), 3, false}}));
  bench->kick(2);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
  EXPECT_TRUE(bench->logged("status byte"));
}

TEST_P(NetControlTest, CommandsInAnyLayout) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto status = bench->guest.allocate(2);
  ASSERT_TRUE(bench->queue(2).add_indirect({{bench->guest.place(std::string(1, '\0')), 1, false},
                                            {bench->guest.place(std::string("\0\1", 2)), 2, false},
                                            {status, 1, true},
                                            {{status.value + 1}, 1, true}}));
  bench->kick(2);
  const auto used = bench->wait_used(2);
  ASSERT_TRUE(used);
  EXPECT_EQ(used->written, 1U);
  EXPECT_EQ(bench->guest.text(status, 1)[0], 0);
}

INSTANTIATE_TEST_SUITE_P(Homes, NetControlTest, ::testing::ValuesIn(all_homes),
                         [](const auto& home) { return std::string(name(home.param)); });

}  // namespace
}  // namespace trivet::test
