// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What flows through a vsock connection: credit, halves, messages, bulk.
#include <thread>

#include "vsock_backlog.hpp"
#include "vsock_bench.hpp"
#include "vsock_credit.hpp"

namespace trivet::test {
namespace {

using namespace std::chrono_literals;

std::string pattern(std::size_t bytes, unsigned seed = 1) {
  std::string text(bytes, '\0');
  for (auto& byte : text) {
    seed = seed * 1664525 + 1013904223;
    byte = static_cast<char>(seed >> 24);
  }
  return text;
}

struct VsockFlow : VsockBench {
  /// Sends until the device holds as much as it says it does; what the guest sent.
  std::string fill(std::uint32_t guest_port, std::uint32_t host_port, std::uint16_t type, std::uint32_t flags) {
    std::string sent;
    std::uint32_t forwarded = 0;
    std::uint32_t held = 0;
    for (;;) {
      auto room = held - (static_cast<std::uint32_t>(sent.size()) - forwarded);
      if (held != 0 && room == 0) {
        // What it has told besides, unasked.
        while (const auto said = packet(50ms)) forwarded = said->fwd_cnt;
        room = held - (static_cast<std::uint32_t>(sent.size()) - forwarded);
        if (room == 0) return sent;
      }
      const auto part = pattern(held == 0 ? 1 : std::min<std::size_t>(room, 1500), static_cast<unsigned>(sent.size()));
      VsockPacket data{abi::vsock_op_rw, guest_port, host_port, part};
      data.type = type;
      data.flags = flags;
      send(data);
      sent += part;
      VsockPacket ask{abi::vsock_op_credit_request, guest_port, host_port};
      ask.type = type;
      send(ask);
      const auto said = packet();
      EXPECT_TRUE(said && said->op == abi::vsock_op_credit_update);
      if (!said) return sent;
      held = said->buf_alloc;
      forwarded = said->fwd_cnt;
    }
  }
  /// Data for the guest until it has so many bytes.
  std::string gather(std::size_t bytes) {
    std::string all;
    while (all.size() < bytes) {
      const auto said = packet();
      if (!said) break;
      if (said->op == abi::vsock_op_rw) all += said->data;
    }
    return all;
  }
};

TEST_P(VsockFlow, AGuestMaySendWhatIsHeldForIt) {
  ASSERT_NO_FATAL_FAILURE(start({.buffer_size = 8192}));
  const auto program = connect_guest();
  const auto sent = fill(1000, 9, abi::vsock_type_stream, 0);
  EXPECT_GT(sent.size(), 8192u);
  EXPECT_TRUE(silent());
  EXPECT_EQ(read_from(program, sent.size()), sent);
  const auto said = packet();
  ASSERT_TRUE(said) << "room again, and the guest may be waiting for it";
  EXPECT_EQ(said->op, abi::vsock_op_credit_update);
  send({abi::vsock_op_rw, 1000, 9, "more"});
  EXPECT_EQ(read_from(program, 4), "more");
}

TEST_P(VsockFlow, AGuestThatOverrunsItsCreditIsReset) {
  ASSERT_NO_FATAL_FAILURE(start({.buffer_size = 4096}));
  const auto program = connect_guest();
  const auto sent = fill(1000, 9, abi::vsock_type_stream, 0);
  send({abi::vsock_op_rw, 1000, 9, "1"});
  EXPECT_EQ(next_op(), abi::vsock_op_rst);
  const auto again = connect_guest();
  send({abi::vsock_op_rw, 1000, 9, std::string(4097, 'x')});
  EXPECT_EQ(next_op(), abi::vsock_op_rst) << "no packet larger than all there is";
  EXPECT_EQ(bench->status(), 15u);
}

TEST_P(VsockFlow, TheHostKeepsToTheGuestsCredit) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto program = connect_guest(1000, abi::vsock_type_stream, 10);
  write_to(program, "0123456789abcdef");
  auto said = packet();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->data, "0123456789");
  EXPECT_EQ(next_op(), abi::vsock_op_credit_request);
  EXPECT_TRUE(silent()) << "asked once";
  send({.op = abi::vsock_op_credit_update, .guest_port = 1000, .host_port = 9, .buf_alloc = 10, .fwd_cnt = 4});
  said = packet();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->data, "abcd");
  EXPECT_EQ(next_op(), abi::vsock_op_credit_request);
  // A guest that claims to have forwarded what it never got has room for nothing.
  send({.op = abi::vsock_op_credit_update, .guest_port = 1000, .host_port = 9, .buf_alloc = 10, .fwd_cnt = 1000});
  EXPECT_TRUE(silent());
  send({.op = abi::vsock_op_credit_update, .guest_port = 1000, .host_port = 9, .buf_alloc = 10, .fwd_cnt = 14});
  said = packet();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->data, "ef");
}

TEST_P(VsockFlow, EachHalfEndsByItself) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto program = connect_guest();
  write_to(program, "last words");
  ASSERT_EQ(::shutdown(program.value(), SHUT_WR), 0);
  EXPECT_EQ(gather(10), "last words");
  auto said = packet();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->op, abi::vsock_op_shutdown);
  EXPECT_EQ(said->flags, abi::vsock_shutdown_send);
  send({abi::vsock_op_rw, 1000, 9, "the other way"});
  EXPECT_EQ(read_from(program, 13), "the other way");

  const auto other = connect_guest(2000);
  send({abi::vsock_op_rw, 2000, 9, "bye"});
  send({.op = abi::vsock_op_shutdown, .guest_port = 2000, .host_port = 9, .flags = abi::vsock_shutdown_send});
  EXPECT_EQ(read_from(other, 4), "bye") << "and then the end";
  write_to(other, "still heard");
  EXPECT_EQ(gather(11), "still heard");
  send({abi::vsock_op_rw, 2000, 9, "!"});
  EXPECT_EQ(next_op(), abi::vsock_op_rst) << "who ended may not go on";
}

TEST_P(VsockFlow, AGuestThatReceivesNoMoreIsSentNoMore) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto program = connect_guest();
  send({.op = abi::vsock_op_shutdown, .guest_port = 1000, .host_port = 9, .flags = abi::vsock_shutdown_receive});
  EXPECT_EQ(::send(program.value(), "x", 1, MSG_NOSIGNAL), -1);
  send({abi::vsock_op_rw, 1000, 9, "x"});
  EXPECT_EQ(read_from(program, 1), "x");
  send({.op = abi::vsock_op_shutdown, .guest_port = 1000, .host_port = 9, .flags = abi::vsock_shutdown_send});
  EXPECT_EQ(next_op(), abi::vsock_op_rst) << "both halves, one after the other";
}

TEST_P(VsockFlow, AProgramThatGoesAwayEndsBothHalves) {
  ASSERT_NO_FATAL_FAILURE(start());
  auto program = connect_guest();
  write_to(program, "farewell");
  program.reset();
  std::string data;
  std::uint32_t ended = 0;
  while (ended != abi::vsock_shutdown_both) {
    const auto said = packet();
    ASSERT_TRUE(said);
    if (said->op == abi::vsock_op_rw) data += said->data;
    if (said->op == abi::vsock_op_shutdown) ended |= said->flags;
  }
  EXPECT_EQ(data, "farewell");
  send({abi::vsock_op_rw, 1000, 9, "to nobody"});  // under way when the guest was told
  EXPECT_TRUE(silent());
  send({abi::vsock_op_rst, 1000, 9});
  bench->settle();
  EXPECT_EQ(vsock->connections(), 0u);
}

TEST_P(VsockFlow, WhatAGuestSentBeforeItsEndArrives) {
  ASSERT_NO_FATAL_FAILURE(start({.buffer_size = 65536}));
  const auto program = connect_guest();
  const auto sent = fill(1000, 9, abi::vsock_type_stream, 0);
  send({.op = abi::vsock_op_shutdown, .guest_port = 1000, .host_port = 9, .flags = abi::vsock_shutdown_both});
  EXPECT_EQ(next_op(), abi::vsock_op_rst);
  EXPECT_EQ(vsock->connections(), 1u) << "for the guest it is over, for the program not yet";
  const auto second = connect_guest();  // the same port may be used again
  EXPECT_EQ(read_from(program, sent.size() + 1), sent);
  for (int i = 0; i < 1000 && vsock->connections() > 1; ++i) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(vsock->connections(), 1u);
  send({abi::vsock_op_rw, 1000, 9, "x"});
  EXPECT_EQ(read_from(second, 1), "x");
}

TEST_P(VsockFlow, BulkArrivesWholeBothWays) {
  ASSERT_NO_FATAL_FAILURE(start({.buffer_size = 8192}));
  const auto program = connect_guest();
  const auto down = pattern(1 << 20, 5);
  std::string got;
  std::thread peer([&] {
    write_to(program, down);
    got = read_from(program, 1 << 20);
  });
  EXPECT_EQ(gather(down.size()), down);
  const auto up = pattern(1 << 20, 6);
  std::uint32_t forwarded = 0;
  for (std::uint32_t at = 0; at < up.size();) {
    const auto room = 8192 - (at - forwarded);
    if (room == 0) {
      const auto said = packet();
      ASSERT_TRUE(said) << "credit must come by itself";
      forwarded = said->fwd_cnt;
      continue;
    }
    const auto part = up.substr(at, std::min<std::size_t>(room, 3001));
    send({.op = abi::vsock_op_rw, .guest_port = 1000, .host_port = 9, .data = part, .fwd_cnt = 1 << 20});
    at += static_cast<std::uint32_t>(part.size());
  }
  peer.join();
  EXPECT_EQ(got, up);
}

TEST_P(VsockFlow, ConnectionsTakeTurns) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto one = connect_guest(1);
  const auto two = connect_guest(2);
  bench->reset_queue(0);
  write_to(one, pattern(100000));
  write_to(two, pattern(100000));
  bench->settle();
  bench->add_queue(0, rings);
  offer(8);
  int balance = 0;
  for (int i = 0; i < 20; ++i) {
    const auto said = packet();
    ASSERT_TRUE(said && said->op == abi::vsock_op_rw);
    balance += said->guest_port == 1 ? 1 : -1;
    EXPECT_LE(std::abs(balance), 2);
  }
}

TEST_P(VsockFlow, MessagesKeepTheirEnds) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto program = connect_guest(1000, abi::vsock_type_seqpacket);
  const auto send_part = [&](const std::string& text, std::uint32_t flags) {
    send({.op = abi::vsock_op_rw,
          .guest_port = 1000,
          .host_port = 10,
          .data = text,
          .type = abi::vsock_type_seqpacket,
          .flags = flags});
  };
  constexpr auto end = abi::vsock_seq_end_of_message;
  send_part("one", end);
  send_part("t", 0);
  send_part("w", 0);
  send_part("o", end | abi::vsock_seq_end_of_record);
  send_part("", end);  // no bytes: no message
  send_part("thr", 0);
  send_part("ee", 0);
  send_part("", end);
  EXPECT_EQ(read_from(program, 100, 0), "one");
  EXPECT_EQ(read_from(program, 100, 0), "two");
  EXPECT_EQ(read_from(program, 100, 0), "three");

  write_to(program, "short");
  const auto long_one = pattern(10000);  // more than a buffer of the guest's
  write_to(program, long_one);
  auto said = packet();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->data, "short");
  EXPECT_EQ(said->flags, end);
  EXPECT_EQ(said->type, abi::vsock_type_seqpacket);
  std::string all;
  std::uint32_t flags = 0;
  while (flags == 0) {
    said = packet();
    ASSERT_TRUE(said);
    all += said->data;
    flags = said->flags;
  }
  EXPECT_EQ(all, long_one);
}

TEST_P(VsockFlow, MessagesWaitWholeForTheirReader) {
  ASSERT_NO_FATAL_FAILURE(start({.buffer_size = 4096}));
  const auto program = connect_guest(1000, abi::vsock_type_seqpacket);
  const auto sent = fill(1000, 10, abi::vsock_type_seqpacket, abi::vsock_seq_end_of_message);
  std::string all;
  std::size_t parts = 0;
  for (; all.size() < sent.size(); ++parts) {
    const auto part = read_from(program, 5000, 0);
    ASSERT_LE(part.size(), 1500u);
    all += part;
  }
  EXPECT_EQ(all, sent);
  EXPECT_GT(parts, sent.size() / 1500);
}

TEST_P(VsockFlow, AMessageThatNeverEndsGoesNowhere) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto program = connect_guest(1000, abi::vsock_type_seqpacket);
  VsockPacket part{abi::vsock_op_rw, 1000, 10, "half a mess"};
  part.type = abi::vsock_type_seqpacket;
  send(part);
  VsockPacket end{abi::vsock_op_shutdown, 1000, 10};
  end.type = abi::vsock_type_seqpacket;
  end.flags = abi::vsock_shutdown_both;
  send(end);
  EXPECT_EQ(next_op(), abi::vsock_op_rst);
  EXPECT_EQ(read_from(program, 100, 0), "");
  bench->settle();
  EXPECT_EQ(vsock->connections(), 0u);
}

TEST_P(VsockFlow, AMessageTheGuestCannotHoldResetsItsConnection) {
  ASSERT_NO_FATAL_FAILURE(start({.buffer_size = 4096}));
  {
    const auto program = connect_guest(1, abi::vsock_type_seqpacket, 100);
    write_to(program, std::string(101, 'x'));
    EXPECT_EQ(next_op(), abi::vsock_op_rst) << "beyond the guest's buffer";
    EXPECT_EQ(read_from(program, 1, 0), "");
  }
  const auto program = connect_guest(2, abi::vsock_type_seqpacket);
  write_to(program, std::string(60000, 'x'));
  EXPECT_EQ(next_op(), abi::vsock_op_rst) << "beyond ours";
}

TEST_P(VsockFlow, AProgramConnectsWithMessages) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto program = connect_to(path + ".seqpacket", SOCK_SEQPACKET);
  write_to(program, "CONNECT 52\n");
  auto said = packet();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->type, abi::vsock_type_seqpacket);
  VsockPacket answer{abi::vsock_op_response, 52, said->host_port};
  answer.type = abi::vsock_type_seqpacket;
  send(answer);
  EXPECT_EQ(read_from(program, 100, 0), "OK " + std::to_string(said->host_port) + "\n");
  write_to(program, "first");
  write_to(program, "second");
  EXPECT_EQ(packet()->data, "first");
  EXPECT_EQ(packet()->data, "second");
}

INSTANTIATE_TEST_SUITE_P(Homes, VsockFlow, ::testing::ValuesIn(all_homes),
                         [](const auto& home) { return std::string(name(home.param)); });

TEST(VsockCredit, CountsModulo32Bits) {
  virtio::VsockCredit credit(4096);
  for (std::uint64_t sum = 0; sum < (std::uint64_t{1} << 32) + 100000; sum += 4096) {
    ASSERT_TRUE(credit.take(4096));
    ASSERT_FALSE(credit.take(1));
    credit.forward(4096);
    if ((sum & 0xfffffff) == 0) {
      EXPECT_TRUE(credit.must_tell());
    }
    credit.told();
  }
  EXPECT_EQ(credit.held(), 0u);
}

TEST(VsockCredit, TellsAGuestThatMayBeWaiting) {
  virtio::VsockCredit credit(4096);
  ASSERT_TRUE(credit.take(100));
  EXPECT_FALSE(credit.must_tell()) << "nothing to tell";
  credit.forward(100);
  EXPECT_FALSE(credit.must_tell()) << "not worth it";
  ASSERT_TRUE(credit.take(3000));
  EXPECT_TRUE(credit.must_tell()) << "it knows of 996 bytes only, and would wait for ever to send 1000";
  credit.told();
  EXPECT_FALSE(credit.must_tell());
}

TEST(VsockBacklog, MarksEveryEndAcrossTheWrap) {
  TestGuest guest;
  Driver driver(guest, 4);
  auto queue = driver.queue();
  const auto text = pattern(200);
  for (const std::uint32_t size : {1u, 63u, 64u, 65u, 127u}) {
    virtio::VsockBacklog backlog(128, true);
    std::uint32_t expected = 0;
    for (unsigned turn = 0; turn < 300; ++turn) {
      ASSERT_TRUE(driver.add({{guest.place(text), size, false}}));
      const auto chain = *queue.pop();
      auto reader = *virtio::Reader::create(*chain);
      ASSERT_TRUE(backlog.append(reader, size));
      ASSERT_TRUE(queue.push_used(chain->id(), 0));
      ASSERT_TRUE(driver.take_used());
      std::array<iovec, 2> runs;
      ASSERT_TRUE(expected != 0 || backlog.front(runs).empty()) << "not whole yet";
      backlog.end_message();
      expected += size;
      if (expected + size <= 128 && turn % 3 != 0) continue;
      std::string front;
      for (const auto& run : backlog.front(runs)) front.append(static_cast<const char*>(run.iov_base), run.iov_len);
      ASSERT_EQ(front, text.substr(0, size)) << size << " bytes, turn " << turn;
      backlog.drop(size);
      expected -= size;
    }
    while (expected != 0) {
      std::array<iovec, 2> runs;
      ASSERT_FALSE(backlog.front(runs).empty());
      backlog.drop(size);
      expected -= size;
    }
    std::array<iovec, 2> runs;
    EXPECT_TRUE(backlog.front(runs).empty());
    EXPECT_EQ(backlog.size(), 0u);
  }
}

}  // namespace
}  // namespace trivet::test
