// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <fcntl.h>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

#include <trivet/test/homes.hpp>
#include <trivet/test/temp_file.hpp>
#include <trivet/virtio/rng.hpp>

namespace trivet::test {
namespace {

namespace abi = virtio::abi;
using namespace std::chrono_literals;

struct RngTest : ::testing::TestWithParam<Home> {
  void start(Result<std::unique_ptr<virtio::Rng>> made) {
    ASSERT_TRUE(made) << to_string(made.error());
    bench = make_bench(GetParam(), std::move(*made));
    bench->start(1);
  }
  std::string draw(std::uint32_t bytes) {
    at = bench->guest.allocate(bytes);
    EXPECT_TRUE(bench->queue(0).add({{at, bytes, true}}));
    bench->kick(0);
    const auto used = bench->wait_used(0);
    return used ? bench->guest.text(at, used->written) : std::string();
  }
  std::unique_ptr<DeviceBench> bench;
  GuestAddress at{};
};

TEST_P(RngTest, FillsBuffersFromTheKernel) {
  ASSERT_NO_FATAL_FAILURE(start(virtio::Rng::create()));
  const auto one = draw(64);
  const auto two = draw(64);
  EXPECT_EQ(one.size(), 64U);
  EXPECT_NE(one, two);
  EXPECT_NE(one, std::string(64, '\0'));
}

TEST_P(RngTest, GivesABoundedPartOfALargeBuffer) {
  ASSERT_NO_FATAL_FAILURE(start(virtio::Rng::create()));
  EXPECT_EQ(draw(100000).size(), 4096U);
}

TEST_P(RngTest, ReadsAFileAgainAtItsEnd) {
  const TempFile file(std::as_bytes(std::span(std::string_view("xyz"))));
  ASSERT_NO_FATAL_FAILURE(start(virtio::Rng::create(file.path())));
  const auto text = draw(7);
  EXPECT_EQ(text, "yzxyzxy");
}

TEST_P(RngTest, WaitsForASourceThatHasNothingNow) {
  const TempFile file;
  const std::string fifo = file.path() + ".fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const UniqueFd writer(::open(fifo.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_NO_FATAL_FAILURE(start(virtio::Rng::create(fifo)));
  const auto place = bench->guest.allocate(8);
  ASSERT_TRUE(bench->queue(0).add({{place, 8, true}}));
  bench->kick(0);
  EXPECT_FALSE(bench->wait_used(0, 20ms));
  ASSERT_EQ(::write(writer.value(), "seed", 4), 4);
  const auto used = bench->wait_used(0);
  ASSERT_TRUE(used);
  EXPECT_EQ(bench->guest.text(place, used->written), "seed");

  // And may be reset while it waits.
  ASSERT_TRUE(bench->queue(0).add({{place, 8, true}}));
  bench->kick(0);
  EXPECT_FALSE(bench->wait_used(0, 20ms));
  bench->set_status(0);
  ASSERT_EQ(::write(writer.value(), "late", 4), 4);
  bench->settle();
  bench->start(1);
  EXPECT_EQ(draw(4), "late");
  ::unlink(fifo.c_str());
}

TEST_P(RngTest, HoldsToItsRate) {
  ASSERT_NO_FATAL_FAILURE(start(virtio::Rng::create({.bytes = {.per_second = 10000, .burst = 1}})));
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(draw(100).size(), 100U);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 39ms);

  // And may be reset while it waits.
  ASSERT_TRUE(bench->queue(0).add({{bench->guest.allocate(4096), 4096, true}}));
  ASSERT_TRUE(bench->queue(0).add({{bench->guest.allocate(64), 64, true}}));
  bench->kick(0);
  ASSERT_TRUE(bench->wait_used(0));
  EXPECT_FALSE(bench->wait_used(0, 20ms)) << "4096 bytes are paid for first";
  bench->set_status(0);
  bench->start(1);
  EXPECT_EQ(draw(64).size(), 64U);
}

TEST_P(RngTest, ReadableAndEmptyChainsComeBack) {
  ASSERT_NO_FATAL_FAILURE(start(virtio::Rng::create()));
  ASSERT_TRUE(bench->queue(0).add({{bench->guest.allocate(16), 16, false}}));
  bench->kick(0);
  const auto used = bench->wait_used(0);
  ASSERT_TRUE(used);
  EXPECT_EQ(used->written, 0U);
  EXPECT_EQ(draw(16).size(), 16U);
}

TEST_P(RngTest, ABufferThatIsNoMemoryNeedsAReset) {
  ASSERT_NO_FATAL_FAILURE(start(virtio::Rng::create()));
  ASSERT_TRUE(bench->queue(0).add({{{0xffff0000}, 16, true}}));
  bench->kick(0);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
  bench->start(1);
  EXPECT_EQ(draw(16).size(), 16U);
}

INSTANTIATE_TEST_SUITE_P(Homes, RngTest, ::testing::ValuesIn(all_homes),
                         [](const auto& home) { return std::string(name(home.param)); });

TEST(RngCreate, NamesABadSource) {
  const TempFile empty;
  EXPECT_EQ(virtio::Rng::create("/nowhere/random").error().code(), Errc::not_found);
  const auto made = virtio::Rng::create(empty.path());
  ASSERT_FALSE(made);
  EXPECT_NE(to_string(made.error()).find(empty.path()), std::string::npos);
  EXPECT_FALSE(virtio::Rng::create("/tmp"));
  EXPECT_EQ(virtio::Rng::create({.bytes = {.per_second = ~0ULL}}).error().code(), Errc::out_of_range);
}

}  // namespace
}  // namespace trivet::test
