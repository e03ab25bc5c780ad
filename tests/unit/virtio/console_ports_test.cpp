// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

#include <trivet/core/unique_fd.hpp>
#include <trivet/test/homes.hpp>
#include <trivet/virtio/abi/console.hpp>
#include <trivet/virtio/console.hpp>

#include "vsock_address.hpp"

namespace trivet::test {
namespace {

namespace abi = virtio::abi;
using namespace std::chrono_literals;

/// A control message as the guest sees it.
struct Message {
  std::uint32_t id = 0;
  std::uint16_t event = 0;
  std::uint16_t value = 0;
  std::string more{};
  friend bool operator==(const Message&, const Message&) = default;
  friend void PrintTo(const Message& message, std::ostream* out) {
    *out << "port " << message.id << " event " << message.event << " value " << message.value << " '" << message.more
         << "'";
  }
};

const Message nothing{0xffffffff, 0xffff, 0xffff};

/// A console whose port 1 is a socket pair, port 2 a console on another, and port 3 a socket.
struct ConsolePorts : ::testing::TestWithParam<Home> {
  ConsolePorts() {
    for (auto* pair : {&agent, &terminal}) {
      std::array<int, 2> fds{};
      EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
      for (unsigned i = 0; i < 2; ++i) pair->at(i).reset(fds.at(i));
    }
    std::string folder = ::testing::TempDir() + "trivet-ports-XXXXXX";
    EXPECT_NE(::mkdtemp(folder.data()), nullptr);
    path = folder + "/port";
  }
  ~ConsolePorts() override {
    bench.reset();
    EXPECT_NE(::access(path.c_str(), F_OK), 0) << "the socket is removed";
    ::rmdir(path.substr(0, path.size() - 5).c_str());
  }

  void make(virtio::ConsoleOptions options = {}) {
    options.ports = {{.name = "org.example.agent", .input_fd = agent[1].value(), .output_fd = agent[1].value()},
                     {.input_fd = terminal[1].value(), .output_fd = terminal[1].value(), .is_console = true},
                     {.name = "socket", .socket = path}};
    auto made = virtio::Console::create(options);
    ASSERT_TRUE(made) << to_string(made.error());
    console = made->get();
    bench = make_bench(GetParam(), std::move(*made));
  }
  void start(std::uint64_t without = 0) {
    ASSERT_NO_FATAL_FAILURE(make());
    bench->start(10, 16, without);
    for (unsigned i = 0; i < 12; ++i) offer(abi::console_control_receive_queue, 64);
  }
  /// All three ports as Linux makes them its own.
  void start_ports() {
    ASSERT_NO_FATAL_FAILURE(start());
    say({0, abi::console_device_ready, 1});
    for (std::uint32_t id = 1; id <= 3; ++id) {
      EXPECT_EQ(heard(), (Message{id, abi::console_port_add, 1}));
      say({id, abi::console_port_ready, 1});
    }
    EXPECT_EQ(heard(), (Message{1, abi::console_port_name, 1, "org.example.agent"}));
    EXPECT_EQ(heard(), (Message{1, abi::console_port_open, 1}));
    EXPECT_EQ(heard(), (Message{2, abi::console_console_port, 1}));
    EXPECT_EQ(heard(), (Message{2, abi::console_port_open, 1}));
    EXPECT_EQ(heard(), (Message{3, abi::console_port_name, 1, "socket"}));
  }

  void offer(unsigned queue, std::uint32_t length) {
    const auto at = bench->guest.allocate(length);
    const auto head = bench->queue(queue).add({{at, length, true}});
    ASSERT_TRUE(head);
    places[{queue, *head}] = at;
    if (bench->queue(queue).must_kick()) bench->kick(queue);
  }
  std::string received(unsigned queue, std::chrono::milliseconds at_most = 20s) {
    const auto used = bench->wait_used(queue, at_most);
    return used ? bench->guest.text(places[{queue, used->id}], used->written) : "nothing";
  }
  Message heard(std::chrono::milliseconds at_most = 20s) {
    const auto bytes = received(abi::console_control_receive_queue, at_most);
    if (bytes.size() < 8) return nothing;
    abi::ConsoleControl control;
    std::memcpy(&control, bytes.data(), sizeof control);
    return {control.id.value(), control.event.value(), control.value.value(), bytes.substr(8)};
  }
  void say_bytes(const std::string& bytes) {
    const auto at = bench->guest.place(bytes.empty() ? "?" : bytes);
    ASSERT_TRUE(bench->queue(3).add({{at, static_cast<std::uint32_t>(bytes.size()), false}}));
    bench->kick(3);
    ASSERT_TRUE(bench->wait_used(3));
  }
  void say(const Message& message) {
    abi::ConsoleControl control{};
    control.id = message.id;
    control.event = message.event;
    control.value = message.value;
    std::string bytes(sizeof control, '\0');
    std::memcpy(bytes.data(), &control, sizeof control);
    say_bytes(bytes + message.more);
  }
  void transmit(unsigned queue, const std::string& text) {
    ASSERT_TRUE(bench->queue(queue).add({{bench->guest.place(text), static_cast<std::uint32_t>(text.size()), false}}));
    if (bench->queue(queue).must_kick()) bench->kick(queue);
  }
  static void write(const UniqueFd& fd, const std::string& text) {
    ASSERT_EQ(::send(fd.value(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  static std::string read(const UniqueFd& fd, std::size_t bytes) {
    std::string text(bytes, '\0');
    const auto got = ::recv(fd.value(), text.data(), bytes, MSG_WAITALL);
    text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return text;
  }
  UniqueFd connect() const {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_TRUE(virtio::connect_to(socket.value(), path));
    return socket;
  }

  std::array<UniqueFd, 2> agent, terminal;  // outside, inside
  std::string path;
  virtio::Console* console = nullptr;
  std::unique_ptr<DeviceBench> bench;
  std::map<std::pair<unsigned, std::uint32_t>, GuestAddress> places;
};

TEST_P(ConsolePorts, AreAddedNamedAndOpened) {
  ASSERT_NO_FATAL_FAILURE(start_ports());
  EXPECT_NE(bench->offered() & abi::console_f_multiport, 0U);
  EXPECT_EQ(bench->config<std::uint32_t>(4), 4U) << "port 0 is one, though nothing is behind it";
  EXPECT_EQ(heard(20ms), nothing) << "nobody is at the socket";
}

TEST_P(ConsolePorts, CarryBytesEachItsOwn) {
  ASSERT_NO_FATAL_FAILURE(start_ports());
  transmit(5, "to the agent");
  EXPECT_EQ(read(agent[0], 12), "to the agent");
  transmit(7, "to the terminal");
  EXPECT_EQ(read(terminal[0], 15), "to the terminal");
  offer(6, 64);
  write(terminal[0], "typed");
  EXPECT_EQ(received(6), "typed") << "a console takes it at once";
  offer(4, 64);
  write(agent[0], "asked");
  EXPECT_EQ(received(4, 20ms), "nothing") << "until the guest opens its port";
  say({1, abi::console_port_open, 1});
  EXPECT_EQ(received(4), "asked");
  say({1, abi::console_port_open, 0});
  offer(4, 64);
  write(agent[0], "later");
  EXPECT_EQ(received(4, 20ms), "nothing");
  say({1, abi::console_port_open, 1});
  EXPECT_EQ(received(4), "later");
}

TEST_P(ConsolePorts, ASocketHasOneProgramAtATime) {
  ASSERT_NO_FATAL_FAILURE(start_ports());
  say({3, abi::console_port_open, 1});
  transmit(9, "to nobody");
  EXPECT_TRUE(bench->wait_used(9)) << "dropped";
  auto first = connect();
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 1}));
  const auto second = connect();
  offer(8, 64);
  offer(8, 64);
  write(second, "second");
  write(first, "first");
  EXPECT_EQ(received(8), "first");
  transmit(9, "answer");
  EXPECT_EQ(read(first, 6), "answer");
  first.reset();
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 0}));
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 1})) << "the one that waited";
  EXPECT_EQ(received(8), "second");
}

TEST_P(ConsolePorts, AProgramThatLeavesIsNoticedWhileTheGuestHasItsPortShut) {
  ASSERT_NO_FATAL_FAILURE(start_ports());
  auto program = connect();
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 1}));
  write(program, "unread");
  bench->settle();
  program.reset();
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 0}));
  offer(8, 64);
  say({3, abi::console_port_open, 1});
  EXPECT_EQ(received(8, 20ms), "nothing") << "its bytes went with it";
}

TEST_P(ConsolePorts, AProgramThatHasSaidAllStillHears) {
  ASSERT_NO_FATAL_FAILURE(start_ports());
  say({3, abi::console_port_open, 1});
  auto program = connect();
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 1}));
  write(program, "question");
  ASSERT_EQ(::shutdown(program.value(), SHUT_WR), 0);
  offer(8, 64);
  EXPECT_EQ(received(8), "question");
  EXPECT_EQ(heard(20ms), nothing);
  transmit(9, "answer");
  EXPECT_EQ(read(program, 6), "answer");
  program.reset();
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 0}));
}

TEST_P(ConsolePorts, AProgramThatLeavesFreesWhatWaitsForIt) {
  ASSERT_NO_FATAL_FAILURE(start_ports());
  say({3, abi::console_port_open, 1});
  auto program = connect();
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 1}));
  transmit(9, std::string(1000000, 'x'));
  EXPECT_FALSE(bench->wait_used(9, 20ms));
  program.reset();
  EXPECT_TRUE(bench->wait_used(9));
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 0}));
  program = connect();
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 1}));
  transmit(9, "fresh");
  EXPECT_EQ(read(program, 5), "fresh") << "nothing of what was for another";
}

TEST_P(ConsolePorts, APairThatEndsIsTold) {
  ASSERT_NO_FATAL_FAILURE(start_ports());
  say({1, abi::console_port_open, 1});
  agent[0].reset();
  EXPECT_EQ(heard(), (Message{1, abi::console_port_open, 0}));
  transmit(5, "to nobody");
  EXPECT_TRUE(bench->wait_used(5));
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(ConsolePorts, TellsTheSizeOfEachConsole) {
  ASSERT_NO_FATAL_FAILURE(start_ports());
  EXPECT_TRUE(console->resize_port(2, 132, 50));
  EXPECT_EQ(heard(), (Message{2, abi::console_resize, 0, std::string("\x84\0\x32\0", 4)}));
  EXPECT_EQ(console->resize_port(1, 80, 25).error().code(), Errc::not_found) << "no terminal";
  EXPECT_EQ(console->resize_port(4, 80, 25).error().code(), Errc::not_found);
  EXPECT_EQ(heard(20ms), nothing);

  // A driver that starts anew is told anew.
  bench->start(10, 16);
  for (unsigned i = 0; i < 12; ++i) offer(abi::console_control_receive_queue, 64);
  say({0, abi::console_device_ready, 1});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(heard().event, abi::console_port_add);
  say({2, abi::console_port_ready, 1});
  EXPECT_EQ(heard().event, abi::console_console_port);
  EXPECT_EQ(heard(), (Message{2, abi::console_resize, 0, std::string("\x84\0\x32\0", 4)}));
}

TEST_P(ConsolePorts, PortZeroKeepsItsSizeAndItsEmergencyWrite) {
  ASSERT_NO_FATAL_FAILURE(
      make({.input_fd = agent[0].value(), .output_fd = agent[0].value(), .columns = 80, .rows = 25}));
  bench->start(10, 16);
  for (unsigned i = 0; i < 12; ++i) offer(abi::console_control_receive_queue, 64);
  say({0, abi::console_device_ready, 1});
  EXPECT_EQ(heard(), (Message{0, abi::console_port_add, 1}));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(heard().event, abi::console_port_add);
  say({0, abi::console_port_ready, 1});
  EXPECT_EQ(heard(), (Message{0, abi::console_console_port, 1}));
  EXPECT_EQ(heard(), (Message{0, abi::console_resize, 0, std::string("\x50\0\x19\0", 4)}));
  EXPECT_EQ(heard(), (Message{0, abi::console_port_open, 1}));
  console->resize(100, 30);
  EXPECT_EQ(heard(), (Message{0, abi::console_resize, 0, std::string("\x64\0\x1e\0", 4)}));
  EXPECT_EQ(bench->config<std::uint32_t>(0), 30U << 16 | 100U);
  EXPECT_TRUE(bench->take_config_change());
  bench->set_config<std::uint32_t>(8, '!');
  say({1, abi::console_port_ready, 1});
  say({1, abi::console_port_open, 1});
  offer(4, 8);
  EXPECT_EQ(received(4), "!") << "the other end of that pair is port 1";
}

TEST_P(ConsolePorts, APortIsTakenOut) {
  ASSERT_NO_FATAL_FAILURE(start_ports());
  say({3, abi::console_port_open, 1});
  const auto program = connect();
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 1}));
  EXPECT_TRUE(console->remove_port(3));
  EXPECT_EQ(heard(), (Message{3, abi::console_port_remove, 1}));
  EXPECT_EQ(read(program, 1), "") << "its program is sent away";
  EXPECT_NE(::access(path.c_str(), F_OK), 0) << "and no other comes";
  EXPECT_EQ(console->remove_port(3).error().code(), Errc::not_found);
  EXPECT_EQ(console->remove_port(9).error().code(), Errc::not_found);
  transmit(9, "late");
  EXPECT_FALSE(bench->wait_used(9, 20ms)) << "its queues rest";
  say({3, abi::console_port_open, 1});
  say({3, abi::console_port_ready, 1});
  EXPECT_EQ(heard(20ms), nothing) << "it is no port any more";
  transmit(5, "on");
  EXPECT_EQ(read(agent[0], 2), "on") << "the others go on";

  bench->start(10, 16);
  for (unsigned i = 0; i < 12; ++i) offer(abi::console_control_receive_queue, 64);
  say({0, abi::console_device_ready, 1});
  EXPECT_EQ(heard(), (Message{1, abi::console_port_add, 1}));
  EXPECT_EQ(heard(), (Message{2, abi::console_port_add, 1}));
  EXPECT_EQ(heard(20ms), nothing);
}

TEST_P(ConsolePorts, MessagesThatMeanNothingArePassedOver) {
  ASSERT_NO_FATAL_FAILURE(start());
  say({1, abi::console_port_ready, 1});
  say({1, abi::console_port_open, 1});
  EXPECT_EQ(heard(20ms), nothing) << "no port was added yet";
  say({0, abi::console_device_ready, 0});
  EXPECT_EQ(heard(20ms), nothing) << "a driver that failed";
  say({0, abi::console_device_ready, 1});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(heard().event, abi::console_port_add);
  for (const std::uint32_t id : {0U, 4U, 5U, 0x7fffffffU, 0xffffffffU}) {
    for (std::uint16_t event = 1; event < 9; ++event) say({id, event, 1});
  }
  say({1, 0xffff, 1});
  say({1, abi::console_port_add, 1});
  say({1, abi::console_port_remove, 1});
  say({1, abi::console_port_name, 1, "mine"});
  say({1, abi::console_port_ready, 0});
  say_bytes("");
  say_bytes("1234567");
  EXPECT_EQ(heard(20ms), nothing);
  EXPECT_EQ(bench->status(), 15U);
  say({1, abi::console_port_ready, 1, "and what follows a message is not looked at"});
  EXPECT_EQ(heard(), (Message{1, abi::console_port_name, 1, "org.example.agent"}));
}

TEST_P(ConsolePorts, NewsWaitForBuffersThatHoldThem) {
  ASSERT_NO_FATAL_FAILURE(make());
  bench->start(10, 16);
  say({0, abi::console_device_ready, 1});
  offer(abi::console_control_receive_queue, 8);
  EXPECT_EQ(heard(), (Message{1, abi::console_port_add, 1}));
  for (int i = 0; i < 1000; ++i) say({1, abi::console_port_ready, 1});
  offer(abi::console_control_receive_queue, 8);
  EXPECT_EQ(received(abi::console_control_receive_queue), "") << "the name does not fit";
  offer(abi::console_control_receive_queue, 7);
  EXPECT_EQ(received(abi::console_control_receive_queue), "");
  offer(abi::console_control_receive_queue, 64);
  EXPECT_EQ(heard(), (Message{1, abi::console_port_name, 1, "org.example.agent"}));
  offer(abi::console_control_receive_queue, 64);
  EXPECT_EQ(heard(), (Message{1, abi::console_port_open, 1})) << "once, however often it was asked for";
  offer(abi::console_control_receive_queue, 64);
  EXPECT_EQ(heard(), (Message{2, abi::console_port_add, 1}));
}

TEST_P(ConsolePorts, WithoutMultiportThereIsPortZeroOnly) {
  ASSERT_NO_FATAL_FAILURE(make());
  bench->start(10, 16, abi::console_f_multiport);
  offer(2, 64);
  ASSERT_TRUE(bench->queue(3).add({{bench->guest.place("12345678"), 8, false}}));
  bench->kick(3);
  offer(4, 64);
  write(agent[0], "unheard");
  transmit(5, "unsaid");
  bench->settle();
  for (const unsigned queue : {2U, 3U, 4U, 5U}) EXPECT_EQ(bench->queue(queue).used_index(), 0) << queue;
  transmit(1, "to nobody");
  EXPECT_TRUE(bench->wait_used(1));
  EXPECT_TRUE(console->resize_port(2, 80, 25));
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(ConsolePorts, BrokenControlChainsNeedAReset) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(bench->queue(3).add({{{0xffff0000}, 8, false}}));
  bench->kick(3);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
  bench->start(10, 16);
  ASSERT_TRUE(bench->queue(2).add({{{0xffff0000}, 64, true}}));
  ASSERT_TRUE(bench->queue(3).add({{bench->guest.place(std::string("\0\0\0\0\0\0\1\0", 8)), 8, false}}));
  bench->kick(3);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset)) << "also when it is what the device has to say";
}

TEST_P(ConsolePorts, AResetForgetsWhatTheDriverSaid) {
  ASSERT_NO_FATAL_FAILURE(start_ports());
  say({1, abi::console_port_open, 1});
  const auto program = connect();
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 1}));
  bench->set_status(0);
  write(agent[0], "kept");
  bench->start(10, 16);
  for (unsigned i = 0; i < 12; ++i) offer(abi::console_control_receive_queue, 64);
  offer(4, 64);
  EXPECT_EQ(received(4, 20ms), "nothing");
  say({0, abi::console_device_ready, 1});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(heard().event, abi::console_port_add);
  say({3, abi::console_port_ready, 1});
  EXPECT_EQ(heard().event, abi::console_port_name);
  EXPECT_EQ(heard(), (Message{3, abi::console_port_open, 1})) << "the program is still there";
  say({1, abi::console_port_open, 1});
  EXPECT_EQ(received(4), "kept");
}

INSTANTIATE_TEST_SUITE_P(Homes, ConsolePorts, ::testing::Values(Home::mmio, Home::pci),
                         [](const auto& home) { return std::string(name(home.param)); });

TEST(ConsoleCreate, NamesThePortOutOfBounds) {
  const auto refusal = [](virtio::ConsolePortOptions port, std::size_t count = 1) {
    virtio::ConsoleOptions options;
    options.ports.assign(count, port);
    const auto made = virtio::Console::create(options);
    return made ? std::string() : to_string(made.error());
  };
  EXPECT_EQ(refusal({.name = std::string(128, 'n')}), "");
  EXPECT_EQ(refusal({}, 30), "");
  EXPECT_NE(refusal({}, 31).find("30"), std::string::npos);
  EXPECT_NE(refusal({.name = std::string(129, 'n')}).find("128"), std::string::npos);
  EXPECT_NE(refusal({.name = "two\nlines"}).find("name"), std::string::npos);
  EXPECT_NE(refusal({.socket = std::string(108, 'p')}).find("107"), std::string::npos);
  EXPECT_NE(refusal({.output_fd = 1, .socket = "/x"}).find("not both"), std::string::npos);
  EXPECT_NE(refusal({.socket = "/nowhere/port"}).find("/nowhere/port"), std::string::npos);
  EXPECT_NE(refusal({.input_fd = 9999}).find("input_fd"), std::string::npos);
  EXPECT_NE(refusal({.socket = "/tmp"}).find("/tmp"), std::string::npos) << "what is there stays there";
}

}  // namespace
}  // namespace trivet::test
