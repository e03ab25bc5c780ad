// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <csignal>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

#include <trivet/core/unique_fd.hpp>
#include <trivet/test/homes.hpp>
#include <trivet/test/temp_file.hpp>
#include <trivet/virtio/abi/console.hpp>
#include <trivet/virtio/console.hpp>

namespace trivet::test {
namespace {

namespace abi = virtio::abi;
using namespace std::chrono_literals;

/// A console on a socket pair: what a person would type into and read from is `outside`.
struct ConsoleTest : ::testing::TestWithParam<Home> {
  ConsoleTest() {
    std::array<int, 2> pair{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()), 0);
    outside.reset(pair[0]);
    inside.reset(pair[1]);
  }
  ~ConsoleTest() override { bench.reset(); }

  void start(virtio::ConsoleOptions options = {}) {
    if (options.input_fd == -1) options.input_fd = options.output_fd = inside.value();
    auto made = virtio::Console::create(options);
    ASSERT_TRUE(made) << to_string(made.error());
    console = made->get();
    bench = make_bench(GetParam(), std::move(*made));
    bench->start(2);
  }
  void type(const std::string& text) {
    ASSERT_EQ(::write(outside.value(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  std::string read(std::size_t bytes) {
    std::string text(bytes, '\0');
    const auto got = ::recv(outside.value(), text.data(), bytes, MSG_WAITALL);
    text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return text;
  }
  void offer(std::uint32_t length) {
    const auto at = bench->guest.allocate(length);
    const auto head = bench->queue(0).add({{at, length, true}});
    ASSERT_TRUE(head);
    places[*head] = at;
    if (bench->queue(0).must_kick()) bench->kick(0);
  }
  std::string received() {
    const auto used = bench->wait_used(0);
    return used ? bench->guest.text(places[static_cast<std::uint16_t>(used->id)], used->written) : "nothing";
  }
  void transmit(const std::string& text) {
    ASSERT_TRUE(bench->queue(1).add({{bench->guest.place(text), static_cast<std::uint32_t>(text.size()), false}}));
    if (bench->queue(1).must_kick()) bench->kick(1);
  }

  UniqueFd outside, inside;
  virtio::Console* console = nullptr;
  std::unique_ptr<DeviceBench> bench;
  std::map<std::uint16_t, GuestAddress> places;
};

TEST_P(ConsoleTest, CarriesBytesBothWays) {
  ASSERT_NO_FATAL_FAILURE(start());
  offer(64);
  type("hello");
  EXPECT_EQ(received(), "hello");
  transmit("world");
  EXPECT_EQ(read(5), "world");
  const auto used = bench->wait_used(1);
  ASSERT_TRUE(used);
  EXPECT_EQ(used->written, 0U);
}

TEST_P(ConsoleTest, InputWaitsForBuffersAndIsCutToThem) {
  ASSERT_NO_FATAL_FAILURE(start());
  type("abcdefgh");
  bench->settle();
  offer(3);
  EXPECT_EQ(received(), "abc");
  offer(3);
  offer(3);
  EXPECT_EQ(received(), "def");
  EXPECT_EQ(received(), "gh");
  type("ij");
  offer(3);
  EXPECT_EQ(received(), "ij");
}

TEST_P(ConsoleTest, InputIsKeptWhileNobodyTakesIt) {
  ASSERT_NO_FATAL_FAILURE(start());
  const std::string text(10000, 'x');  // more than the device holds
  type(text);
  bench->settle();
  std::string all;
  while (all.size() < text.size()) {
    offer(4096);
    const auto part = received();
    ASSERT_NE(part, "nothing");
    all += part;
  }
  EXPECT_EQ(all, text);
}

TEST_P(ConsoleTest, OutputWaitsForItsReader) {
  ASSERT_NO_FATAL_FAILURE(start());
  std::string text;
  for (int i = 0; i < 300000; ++i) text += static_cast<char>('a' + i % 23);
  transmit(text);  // more than a socket and the device hold
  EXPECT_FALSE(bench->wait_used(1, 50ms)) << "the guest's buffer stays in the queue";
  transmit("end");
  EXPECT_EQ(read(text.size() + 3), text + "end");
  EXPECT_TRUE(bench->wait_used(1));
  EXPECT_TRUE(bench->wait_used(1));
}

TEST_P(ConsoleTest, AReaderThatGoesAwayIsNoError) {
  ASSERT_NO_FATAL_FAILURE(start());
  outside.reset();
  for (int i = 0; i < 3; ++i) {
    transmit("to nobody");
    EXPECT_TRUE(bench->wait_used(1));
  }
  EXPECT_EQ(bench->status(), 15U);
  EXPECT_TRUE(bench->logged().empty());
}

TEST_P(ConsoleTest, AReaderThatGoesAwayWhileOutputWaitsIsNoError) {
  ASSERT_NO_FATAL_FAILURE(start());
  transmit(std::string(1000000, 'x'));
  EXPECT_FALSE(bench->wait_used(1, 20ms));
  outside.reset();
  EXPECT_TRUE(bench->wait_used(1));
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(ConsoleTest, WithoutDescriptorsItSwallows) {
  auto made = virtio::Console::create({});
  bench = make_bench(GetParam(), std::move(*made));
  bench->start(2);
  transmit("to nobody");
  EXPECT_TRUE(bench->wait_used(1));
  offer(10);
  EXPECT_FALSE(bench->wait_used(0, 10ms));
}

TEST_P(ConsoleTest, ReadsAFileToItsEnd) {
  const TempFile file(std::as_bytes(std::span(std::string_view("from a file"))));
  const UniqueFd input(::open(file.path().c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_NO_FATAL_FAILURE(start({.input_fd = input.value(), .output_fd = inside.value()}));
  offer(64);
  EXPECT_EQ(received(), "from a file");
  transmit("x");
  EXPECT_EQ(read(1), "x");
  bench.reset();
}

TEST_P(ConsoleTest, ResizesWithANewGeneration) {
  ASSERT_NO_FATAL_FAILURE(start({.columns = 80, .rows = 25}));
  ASSERT_NE(bench->offered() & abi::console_f_size, 0U);
  EXPECT_EQ(bench->config<std::uint32_t>(0), 25U << 16 | 80U);
  const auto before = bench->generation();
  console->resize(132, 50);
  EXPECT_EQ(bench->config<std::uint16_t>(0), 132U);
  EXPECT_EQ(bench->config<std::uint16_t>(2), 50U);
  EXPECT_NE(bench->generation(), before);
  EXPECT_TRUE(bench->take_config_change());

  bench->set_status(0);
  console->resize(80, 25);  // nobody to tell
  EXPECT_FALSE(bench->take_config_change());
  EXPECT_EQ(bench->config<std::uint16_t>(0), 80U);
}

TEST_P(ConsoleTest, ASizeMayComeLater) {
  ASSERT_NO_FATAL_FAILURE(start({.resizable = true}));
  ASSERT_NE(bench->offered() & abi::console_f_size, 0U);
  EXPECT_EQ(bench->config<std::uint32_t>(0), 0U);
  console->resize(132, 50);
  EXPECT_EQ(bench->config<std::uint32_t>(0), 50U << 16 | 132U);
  EXPECT_TRUE(bench->take_config_change());
}

TEST_P(ConsoleTest, WithoutASizeThereIsNoResize) {
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(bench->offered() & abi::console_f_size, 0U);
  console->resize(80, 25);
  EXPECT_FALSE(bench->take_config_change());
}

TEST_P(ConsoleTest, EmergencyWritesNeedNoQueue) {
  ASSERT_NO_FATAL_FAILURE(start());
  bench->set_status(0);
  bench->set_config<std::uint32_t>(8, '!');
  EXPECT_EQ(read(1), "!");
}

TEST_P(ConsoleTest, AResetKeepsNoBuffers) {
  ASSERT_NO_FATAL_FAILURE(start());
  offer(64);
  transmit(std::string(1000000, 'x'));
  EXPECT_FALSE(bench->wait_used(1, 20ms));
  bench->set_status(0);
  type("late");
  bench->settle();
  EXPECT_EQ(bench->queue(0).used_index(), 0);
  bench->start(2);
  offer(64);
  EXPECT_EQ(received(), "late");
}

TEST_P(ConsoleTest, AQueueResetInTheMiddleOfOutput) {
  ASSERT_NO_FATAL_FAILURE(start());
  transmit(std::string(1000000, 'x'));
  EXPECT_FALSE(bench->wait_used(1, 20ms));
  bench->reset_queue(1);
  bench->add_queue(1, 16);
  transmit("end");
  std::string all;
  while (all.find("end") == std::string::npos) {
    const auto part = read(1);
    ASSERT_FALSE(part.empty());
    all += part;
  }
  EXPECT_TRUE(bench->wait_used(1));
}

TEST_P(ConsoleTest, BrokenChainsNeedAReset) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(bench->queue(1).add({{{0xffff0000}, 16, false}}));
  bench->kick(1);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
  bench->start(2);
  ASSERT_TRUE(bench->queue(0).add({{{0xffff0000}, 16, true}}));
  type("x");
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset)) << "also when the input finds it";
  bench->start(2);
  transmit("fine");
  EXPECT_EQ(read(4), "fine");
}

INSTANTIATE_TEST_SUITE_P(Homes, ConsoleTest, ::testing::ValuesIn(all_homes),
                         [](const auto& home) { return std::string(name(home.param)); });

TEST(ConsoleCreate, NamesTheOptionOutOfBounds) {
  EXPECT_EQ(virtio::Console::create({.queue_size = 3}).error().code(), Errc::invalid_argument);
  EXPECT_FALSE(virtio::Console::create({.input_fd = 9999}));
}

}  // namespace
}  // namespace trivet::test
