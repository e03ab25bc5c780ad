// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <set>

#include "vsock_bench.hpp"

namespace trivet::test {
namespace {

using namespace std::chrono_literals;
constexpr std::uint32_t both = abi::vsock_shutdown_both;

struct VsockTest : VsockBench {};

TEST_P(VsockTest, TellsTheGuestItsCid) {
  ASSERT_NO_FATAL_FAILURE(start({.cid = 77}));
  EXPECT_EQ(bench->config<std::uint64_t>(0), 77u);
  EXPECT_EQ(bench->offered() & 0xffffff, abi::vsock_f_stream | abi::vsock_f_seqpacket | abi::vsock_f_no_implied_stream);
}

TEST_P(VsockTest, TheGuestConnectsToAProgramThatListens) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto program = connect_guest();
  EXPECT_EQ(vsock->connections(), 1u);
  send({abi::vsock_op_rw, 1000, 9, "hello"});
  EXPECT_EQ(read_from(program, 5), "hello");
  send({abi::vsock_op_rw, 1000, 9, "in many pieces, more than are passed on at once"}, 1);
  EXPECT_EQ(read_from(program, 47), "in many pieces, more than are passed on at once");
  write_to(program, "world");
  const auto said = packet();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->op, abi::vsock_op_rw);
  EXPECT_EQ(said->data, "world");
  EXPECT_EQ(said->guest_port, 1000u);
  EXPECT_EQ(said->host_port, 9u);
  EXPECT_EQ(said->fwd_cnt, 52u);
  EXPECT_EQ(said->host_cid, 2u);

  send({.op = abi::vsock_op_shutdown, .guest_port = 1000, .host_port = 9, .flags = both});
  EXPECT_EQ(next_op(), abi::vsock_op_rst) << "the answer to a guest that is done";
  EXPECT_EQ(read_from(program, 1), "") << "its end";
  bench->settle();
  EXPECT_EQ(vsock->connections(), 0u);
  EXPECT_EQ(bench->status(), 15u);
}

TEST_P(VsockTest, AProgramConnectsToTheGuest) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto program = connect_to(path);
  write_to(program, "CONN");  // a line may come in parts
  bench->settle();
  write_to(program, "ECT 52\nand more");
  auto said = packet();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->op, abi::vsock_op_request);
  EXPECT_EQ(said->guest_port, 52u);
  EXPECT_GE(said->host_port, 1u << 30);
  EXPECT_EQ(said->type, abi::vsock_type_stream);
  const auto port = said->host_port;
  send({abi::vsock_op_response, 52, port});
  const auto line = "OK " + std::to_string(port) + "\n";
  EXPECT_EQ(read_from(program, line.size()), line);
  said = packet();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->data, "and more") << "what followed the line is the guest's";
  send({abi::vsock_op_rw, 52, port, "yes"});
  EXPECT_EQ(read_from(program, 3), "yes");

  const auto second = connect_to(path);
  write_to(second, "connect 52\n");
  said = packet();
  ASSERT_TRUE(said);
  EXPECT_NE(said->host_port, port);
  send({abi::vsock_op_rst, 52, said->host_port});
  EXPECT_EQ(read_from(second, 1), "") << "the guest did not want it";
}

TEST_P(VsockTest, AProgramThatTalksOtherwiseIsHungUpOn) {
  ASSERT_NO_FATAL_FAILURE(start());
  for (const std::string line : {"GET / HTTP/1.1\n", "CONNECT\n", "CONNECT 4294967296\n", "CONNECT -1\n",
                                 "CONNECT 5 6\n", "CONNECT 00000000000000000000000000005\n", "\n"}) {
    const auto program = connect_to(path);
    write_to(program, line);
    const auto got = read_from(program, 1);
    EXPECT_TRUE(got.empty() || got == "nothing") << line;
  }
  auto program = connect_to(path);
  program.reset();
  program = connect_to(path);
  write_to(program, "CONNECT 1\n");
  EXPECT_EQ(next_op(), abi::vsock_op_request);
  program.reset();
  EXPECT_EQ(next_op(), abi::vsock_op_rst) << "it did not wait for the guest";
  EXPECT_TRUE(silent());
  EXPECT_EQ(vsock->connections(), 0u);
}

TEST_P(VsockTest, WhatIsNotThereIsRefused) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto refused = [&](VsockPacket packet) {
    send(packet);
    const auto said = this->packet();
    return said && said->op == abi::vsock_op_rst && said->guest_port == packet.guest_port &&
           said->host_port == packet.host_port && said->host_cid == packet.host_cid && said->type == packet.type;
  };
  EXPECT_TRUE(refused({abi::vsock_op_request, 1, 404})) << "nobody listens";
  EXPECT_TRUE(refused({abi::vsock_op_rw, 1, 9, "data"})) << "no connection";
  EXPECT_TRUE(refused({abi::vsock_op_shutdown, 1, 9}));
  EXPECT_TRUE(refused({abi::vsock_op_response, 1, 9}));
  EXPECT_TRUE(refused({99, 1, 9}));
  EXPECT_TRUE(refused({.op = abi::vsock_op_request, .guest_port = 1, .host_port = 9, .type = 7})) << "no such type";
  EXPECT_TRUE(refused({.op = abi::vsock_op_request, .guest_port = 1, .host_port = 9, .host_cid = 5})) << "nobody's CID";
  const auto listener = listen_on(9);
  EXPECT_TRUE(
      refused({.op = abi::vsock_op_request, .guest_port = 1, .host_port = 9, .type = abi::vsock_type_seqpacket}))
      << "a listener of the other type";
  EXPECT_TRUE(refused({abi::vsock_op_request, 1, 9, "with data"}));
  send({abi::vsock_op_rst, 1, 9});
  send({.op = abi::vsock_op_request, .guest_port = 1, .host_port = 9, .guest_cid = 4});
  EXPECT_TRUE(silent()) << "never to a reset, nor to who is somebody else";
  EXPECT_EQ(vsock->connections(), 0u);
}

TEST_P(VsockTest, LiesEndTheirConnectionOnly) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto good = connect_guest(1);
  const auto resets = [&](VsockPacket packet) {
    const auto program = connect_guest(packet.guest_port);
    send(packet);
    const auto said = this->packet();
    EXPECT_EQ(read_from(program, 1), "");
    return said && said->op == abi::vsock_op_rst && said->guest_port == packet.guest_port;
  };
  EXPECT_TRUE(resets({.op = abi::vsock_op_rw, .guest_port = 2, .host_port = 9, .data = "abc", .len = 4}));
  EXPECT_TRUE(resets({.op = abi::vsock_op_rw, .guest_port = 2, .host_port = 9, .data = "abc", .len = 2}));
  EXPECT_TRUE(resets({.op = abi::vsock_op_rw, .guest_port = 2, .host_port = 9, .data = "abc", .len = 0xffffffff}));
  EXPECT_TRUE(resets({.op = abi::vsock_op_rw, .guest_port = 2, .host_port = 9, .type = abi::vsock_type_seqpacket}));
  EXPECT_TRUE(resets({abi::vsock_op_credit_update, 2, 9, "data"}));
  EXPECT_TRUE(resets({abi::vsock_op_response, 2, 9}));
  EXPECT_TRUE(resets({abi::vsock_op_request, 2, 9}));
  EXPECT_TRUE(resets({0, 2, 9}));
  EXPECT_TRUE(resets({8, 2, 9}));
  send({abi::vsock_op_rw, 1, 9, "still here"});
  EXPECT_EQ(read_from(good, 10), "still here");
  EXPECT_EQ(bench->status(), 15u);
}

TEST_P(VsockTest, AnAnswerThatWasNotAskedForEndsTheRequest) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto program = connect_to(path);
  write_to(program, "CONNECT 52\n");
  const auto said = packet();
  ASSERT_TRUE(said);
  send({abi::vsock_op_rw, 52, said->host_port, "too early"});
  EXPECT_EQ(next_op(), abi::vsock_op_rst);
  EXPECT_EQ(read_from(program, 1), "");
}

TEST_P(VsockTest, RefusalsWaitForTheGuestAndHoldItUp) {
  ASSERT_NO_FATAL_FAILURE(start({}, 0));
  constexpr std::uint32_t all = 100;  // more than are kept
  std::uint32_t taken = 0;
  for (std::uint32_t port = 0; port < all; ++port) {
    put({abi::vsock_op_rw, port, 9});
    while (taken <= port && bench->wait_used(1, taken < 64 ? 20000ms : 0ms)) ++taken;
    if (port + 1 - taken >= 20) break;
  }
  EXPECT_EQ(bench->status(), 15u) << (bench->logged().empty() ? "" : bench->logged().front());
  EXPECT_EQ(taken, 64u) << "then no more is heard";
  offer(8);
  for (std::uint32_t port = 0; port < 64; ++port) {
    const auto said = packet();
    ASSERT_TRUE(said);
    EXPECT_EQ(said->op, abi::vsock_op_rst);
    EXPECT_EQ(said->guest_port, port);
  }
  while (taken < 64 + 20) {
    ASSERT_TRUE(bench->wait_used(1)) << "and then it goes on";
    ++taken;
  }
  EXPECT_EQ(next_op(), abi::vsock_op_rst);
}

TEST_P(VsockTest, BrokenChainsNeedAReset) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(bench->queue(1).add({{bench->guest.allocate(44), 43, false}}));
  bench->kick(1);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset)) << "no room for a header";
  bench->start(3, rings);
  ASSERT_TRUE(bench->queue(1).add({{{0xffff0000}, 44, false}}));
  bench->kick(1);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
  bench->start(3, rings);
  offer(1, 43);
  put({abi::vsock_op_rw, 1, 1});
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
  bench->start(3, rings);
  offer(4);
  send({abi::vsock_op_request, 1, 404});
  EXPECT_EQ(next_op(), abi::vsock_op_rst) << "all is well again";
}

TEST_P(VsockTest, AResetEndsEverything) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto program = connect_guest();
  bench->set_status(0);
  EXPECT_EQ(read_from(program, 1), "");
  EXPECT_EQ(vsock->connections(), 0u);
  const auto early = connect_to(path);
  write_to(early, "CONNECT 5\n");
  bench->start(3, rings);
  offer(4);
  EXPECT_EQ(next_op(), abi::vsock_op_request) << "who comes while there is no guest waits for one";
  const auto again = connect_guest();
  send({abi::vsock_op_rw, 1000, 9, "x"});
  EXPECT_EQ(read_from(again, 1), "x");
}

TEST_P(VsockTest, AnotherGuestIsTold) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto program = connect_guest();
  ASSERT_TRUE(vsock->reset_transport(44));
  EXPECT_EQ(read_from(program, 1), "");
  const auto before = bench->generation();
  const auto at = bench->guest.allocate(16);
  ASSERT_TRUE(bench->queue(2).add({{at, 16, true}}));
  bench->kick(2);
  const auto used = bench->wait_used(2);
  ASSERT_TRUE(used);
  EXPECT_EQ(used->written, 4u);
  EXPECT_EQ(*bench->guest.memory().load<std::uint32_t>(at), abi::vsock_event_transport_reset);
  EXPECT_EQ(bench->config<std::uint64_t>(0), 44u);
  EXPECT_EQ(vsock->reset_transport(2).error().code(), Errc::out_of_range);
  ASSERT_TRUE(vsock->reset_transport(45));
  EXPECT_EQ(bench->generation() != before, bench->tells_generation());
  send({.op = abi::vsock_op_request, .guest_port = 1, .host_port = 404, .guest_cid = 45});
  EXPECT_EQ(next_op(), abi::vsock_op_rst);
}

TEST_P(VsockTest, ConnectionsAreBounded) {
  ASSERT_NO_FATAL_FAILURE(start({.connections = 2}));
  auto first = connect_guest(1);
  const auto second = connect_to(path);
  write_to(second, "CONNECT 5\n");
  EXPECT_EQ(next_op(), abi::vsock_op_request);
  send({abi::vsock_op_request, 3, 9});
  EXPECT_EQ(next_op(), abi::vsock_op_rst) << "the guest is refused";
  const auto third = connect_to(path);
  write_to(third, "CONNECT 6\n");
  EXPECT_TRUE(silent()) << "a program waits its turn";
  send({.op = abi::vsock_op_shutdown, .guest_port = 1, .host_port = 9, .flags = both});
  EXPECT_EQ(next_op(), abi::vsock_op_rst);
  const auto said = packet();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->op, abi::vsock_op_request);
  EXPECT_EQ(said->guest_port, 6u);
}

TEST_P(VsockTest, AQueueResetKeepsConnections) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto program = connect_guest();
  bench->reset_queue(0);
  write_to(program, "meanwhile");
  bench->add_queue(0, rings);
  offer(4);
  const auto said = packet();
  ASSERT_TRUE(said);
  EXPECT_EQ(said->data, "meanwhile");
}

TEST_P(VsockTest, OldDriversMeanStreams) {
  ASSERT_NO_FATAL_FAILURE(start({}, 8, abi::vsock_f_stream | abi::vsock_f_no_implied_stream));
  const auto program = connect_guest();
  send({abi::vsock_op_rw, 1000, 9, "x"});
  EXPECT_EQ(read_from(program, 1), "x");
}

TEST_P(VsockTest, WhatWasNotNegotiatedIsRefused) {
  ASSERT_NO_FATAL_FAILURE(start({}, 8, abi::vsock_f_stream | abi::vsock_f_seqpacket));
  const auto stream = listen_on(9);
  const auto messages = listen_on(10, SOCK_SEQPACKET);
  send({abi::vsock_op_request, 1, 9});
  EXPECT_EQ(next_op(), abi::vsock_op_rst);
  send({.op = abi::vsock_op_request, .guest_port = 1, .host_port = 10, .type = abi::vsock_type_seqpacket});
  EXPECT_EQ(next_op(), abi::vsock_op_rst);
  const auto program = connect_to(path);
  write_to(program, "CONNECT 5\n");
  EXPECT_EQ(read_from(program, 1), "");
}

INSTANTIATE_TEST_SUITE_P(Homes, VsockTest, ::testing::ValuesIn(all_homes),
                         [](const auto& home) { return std::string(name(home.param)); });

TEST(VsockCreate, NamesTheOptionOutOfBounds) {
  const auto refusal = [](virtio::VsockOptions options) {
    const auto made = virtio::Vsock::create(std::move(options));
    return made ? std::string() : to_string(made.error());
  };
  EXPECT_NE(refusal({.cid = 2, .path = "/x"}).find("3 to 4294967294"), std::string::npos);
  EXPECT_NE(refusal({.cid = 0xffffffff, .path = "/x"}).find("3 to 4294967294"), std::string::npos);
  EXPECT_NE(refusal({}).find("path"), std::string::npos);
  EXPECT_NE(refusal({.path = std::string(97, 'x')}).find("path"), std::string::npos);
  EXPECT_NE(refusal({.path = "/x", .connections = 0}).find("connections"), std::string::npos);
  EXPECT_NE(refusal({.path = "/x", .buffer_size = 5000}).find("buffer_size"), std::string::npos);
  EXPECT_NE(refusal({.path = "/x", .queue_size = 3}).find("queue_size"), std::string::npos);
  EXPECT_NE(refusal({.path = "/no/such/folder/x"}).find("/no/such/folder/x"), std::string::npos);
}

TEST(VsockCreate, LeavesAFileThatIsInTheWay) {
  std::string pattern = (std::filesystem::temp_directory_path() / "vsock.XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const auto path = pattern + "/v";
  {
    auto first = virtio::Vsock::create({.path = path});
    ASSERT_TRUE(first) << to_string(first.error());
    const auto second = virtio::Vsock::create({.path = path});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), Errc::already_exists);
    EXPECT_TRUE(std::filesystem::exists(path)) << "the first one's";
  }
  EXPECT_TRUE(std::filesystem::is_empty(pattern));
  std::filesystem::remove_all(pattern);
}

}  // namespace
}  // namespace trivet::test
