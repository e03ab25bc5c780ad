// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <trivet/test/homes.hpp>
#include <trivet/virtio/abi/balloon.hpp>
#include <trivet/virtio/balloon.hpp>

namespace trivet::test {
namespace {

namespace abi = virtio::abi;
using namespace std::chrono_literals;

constexpr std::uint64_t page = 4096;
/// Pages that tests give away: not where rings and buffers are.
constexpr std::uint32_t spare = 512;

struct BalloonTest : ::testing::TestWithParam<Home> {
  ~BalloonTest() override { bench.reset(); }

  void start(virtio::BalloonOptions options = {}, std::uint64_t without = 0) {
    auto made = virtio::Balloon::create(std::move(options));
    ASSERT_TRUE(made) << to_string(made.error());
    balloon = made->get();
    bench = make_bench(GetParam(), std::move(*made));
    ASSERT_TRUE(bench->guest.memory().fill({{spare * page}, 64 * page}, std::byte{0x5a}));
    bench->start(5, 16, without);
  }
  void send(unsigned queue, const std::vector<std::uint32_t>& pages) {
    const auto at = bench->guest.place(std::as_bytes(std::span(pages)));
    ASSERT_TRUE(bench->queue(queue).add({{at, static_cast<std::uint32_t>(pages.size() * 4), false}}));
    bench->kick(queue);
    ASSERT_TRUE(bench->wait_used(queue));
  }
  /// What a page of the guest begins with.
  std::uint8_t content(std::uint64_t number) { return *bench->guest.memory().load<std::uint8_t>({number * page}); }
  void offer_free(unsigned queue, std::uint64_t address, std::uint32_t length) {
    ASSERT_TRUE(bench->queue(queue).add({{{address}, length, true}}));
    bench->kick(queue);
    const auto used = bench->wait_used(queue);
    ASSERT_TRUE(used);
    EXPECT_EQ(used->written, 0u);
  }
  void send_statistics(std::initializer_list<std::pair<std::uint16_t, std::uint64_t>> all) {
    std::vector<abi::BalloonStat> stats;
    for (const auto& [tag, value] : all) {
      auto& stat = stats.emplace_back();
      stat.tag = tag;
      stat.val = value;
    }
    const auto at = bench->guest.place(std::as_bytes(std::span(stats)));
    ASSERT_TRUE(bench->queue(2).add({{at, static_cast<std::uint32_t>(stats.size() * 10), false}}));
    bench->kick(2);
    bench->settle();
  }

  virtio::Balloon* balloon = nullptr;
  std::unique_ptr<DeviceBench> bench;
};

TEST_P(BalloonTest, TellsItsTargetAndEachNewOne) {
  ASSERT_NO_FATAL_FAILURE(start({.target_mib = 3}));
  EXPECT_EQ(bench->config<std::uint32_t>(0), 3u * 256);
  EXPECT_EQ(balloon->target_mib(), 3u);
  const auto before = bench->generation();
  ASSERT_TRUE(balloon->set_target(100));
  EXPECT_EQ(bench->config<std::uint32_t>(0), 25600u);
  EXPECT_NE(bench->generation(), before);
  EXPECT_TRUE(bench->take_config_change());
  EXPECT_EQ(balloon->set_target(std::uint64_t{1} << 24).error().code(), Errc::out_of_range);
  EXPECT_EQ(balloon->target_mib(), 100u);

  bench->set_config<std::uint32_t>(4, 7);
  EXPECT_EQ(balloon->actual_pages(), 7u);
  EXPECT_EQ(bench->config<std::uint32_t>(4), 7u);
  bench->set_config<std::uint32_t>(0, 1);
  EXPECT_EQ(balloon->target_mib(), 100u) << "not the driver's to set";
  bench->set_status(0);
  EXPECT_EQ(balloon->actual_pages(), 0u) << "a reset guest has given nothing";
}

TEST_P(BalloonTest, GivenPagesLeaveTheHost) {
  ASSERT_NO_FATAL_FAILURE(start());
  send(0, {spare + 3, spare + 1, spare + 2, spare + 2, spare + 9});
  for (const auto gone : {1u, 2u, 3u, 9u}) EXPECT_EQ(content(spare + gone), 0) << gone;
  for (const auto kept : {0u, 4u, 8u, 10u}) EXPECT_EQ(content(spare + kept), 0x5a) << kept;
  const auto counts = balloon->counts();
  EXPECT_EQ(counts.inflated, 5u);
  EXPECT_EQ(counts.released, 4u);
  EXPECT_EQ(counts.ignored, 0u);

  ASSERT_TRUE(bench->guest.memory().fill({{(spare + 1) * page}, page}, std::byte{1}));
  send(1, {spare + 1});
  EXPECT_EQ(content(spare + 1), 1) << "a page that comes back is not touched";
  EXPECT_EQ(balloon->counts().deflated, 1u);
}

TEST_P(BalloonTest, PagesThatAreNoMemoryArePassedOver) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto last = static_cast<std::uint32_t>(TestGuest::default_size / page) - 1;
  send(0, {last, last + 1, last + 2, 0xffffffff, spare});
  const auto counts = balloon->counts();
  EXPECT_EQ(counts.inflated, 5u);
  EXPECT_EQ(counts.released, 2u);
  EXPECT_EQ(counts.ignored, 3u);
  EXPECT_EQ(content(spare), 0);
  EXPECT_EQ(bench->status(), 15u);
  EXPECT_TRUE(bench->logged().empty());
}

TEST_P(BalloonTest, AListOfAnyLengthTakesItsTurns) {
  ASSERT_NO_FATAL_FAILURE(start());
  std::vector<std::uint32_t> pages(20000, spare);  // more than one call of process takes
  pages.back() = spare + 5;
  send(0, pages);
  EXPECT_EQ(balloon->counts().inflated, pages.size());
  EXPECT_EQ(content(spare + 5), 0);
  ASSERT_TRUE(bench->queue(0).add({{{0}, 0, false}}));
  bench->kick(0);
  EXPECT_TRUE(bench->wait_used(0)) << "an empty list is one";
}

TEST_P(BalloonTest, AQueueResetInTheMiddleOfAList) {
  ASSERT_NO_FATAL_FAILURE(start());
  const std::vector<std::uint32_t> pages(500000, spare);
  const auto at = bench->guest.place(std::as_bytes(std::span(pages)));
  ASSERT_TRUE(bench->queue(0).add({{at, static_cast<std::uint32_t>(pages.size() * 4), false}}));
  bench->kick(0);
  bench->reset_queue(0);
  bench->add_queue(0, 16);
  send(0, {spare + 1});
  EXPECT_EQ(content(spare + 1), 0);
}

TEST_P(BalloonTest, ATornListNeedsAReset) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(bench->queue(0).add({{bench->guest.allocate(16), 6, false}}));
  bench->kick(0);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
  EXPECT_TRUE(bench->logged("page numbers"));
  bench->start(5);
  send(0, {spare});
  EXPECT_EQ(content(spare), 0);
}

TEST_P(BalloonTest, StatisticsComeWhenAskedFor) {
  ASSERT_NO_FATAL_FAILURE(start());
  send_statistics({{abi::balloon_s_free_memory, 1000}, {abi::balloon_s_total_memory, 5000}});
  auto said = balloon->statistics();
  EXPECT_EQ(said.updates, 1u);
  EXPECT_EQ(said.free_memory, 1000u);
  EXPECT_EQ(said.total_memory, 5000u);
  EXPECT_FALSE(said.swap_in);
  EXPECT_FALSE(bench->wait_used(2, 10ms)) << "the buffer is held until somebody asks";

  balloon->request_statistics();
  ASSERT_TRUE(bench->wait_used(2));
  send_statistics({{abi::balloon_s_free_memory, 900}, {abi::balloon_s_oom_kills, 1}, {999, 5}});
  said = balloon->statistics();
  EXPECT_EQ(said.updates, 2u);
  EXPECT_EQ(said.free_memory, 900u);
  EXPECT_EQ(said.oom_kills, 1u);
  EXPECT_FALSE(said.total_memory) << "only what was said last";
}

TEST_P(BalloonTest, StatisticsAskedForBeforeThereIsABuffer) {
  ASSERT_NO_FATAL_FAILURE(start());
  balloon->request_statistics();
  send_statistics({{abi::balloon_s_caches, 3}});
  EXPECT_TRUE(bench->wait_used(2));
  EXPECT_EQ(balloon->statistics().caches, 3u);
}

TEST_P(BalloonTest, OfTwoStatisticsBuffersTheOlderGoesBack) {
  ASSERT_NO_FATAL_FAILURE(start());
  send_statistics({{abi::balloon_s_swap_in, 1}});
  send_statistics({{abi::balloon_s_swap_in, 2}});
  EXPECT_TRUE(bench->wait_used(2));
  EXPECT_EQ(balloon->statistics().swap_in, 2u);
  bench->reset_queue(2);
  bench->add_queue(2, 16);
  send_statistics({{abi::balloon_s_swap_in, 3}});
  EXPECT_EQ(balloon->statistics().swap_in, 3u);
}

TEST_P(BalloonTest, ReportedPagesLeaveTheHost) {
  ASSERT_NO_FATAL_FAILURE(start({.free_page_reporting = true}));
  // No hinting: reports are the fourth queue, as Linux counts.
  offer_free(3, spare * page, 2 * page);
  EXPECT_EQ(content(spare), 0);
  EXPECT_EQ(content(spare + 1), 0);
  EXPECT_EQ(content(spare + 2), 0x5a);
  offer_free(3, (spare + 4) * page + 1, 2 * page);
  EXPECT_EQ(content(spare + 4), 0x5a) << "only whole pages";
  EXPECT_EQ(content(spare + 5), 0);
  EXPECT_EQ(content(spare + 6), 0x5a);
  // And the fifth, as the specification counts.
  offer_free(4, (spare + 8) * page, page);
  EXPECT_EQ(content(spare + 8), 0);
  offer_free(3, TestGuest::default_size, 3 * page);
  const auto counts = balloon->counts();
  EXPECT_EQ(counts.reported, 7u);
  EXPECT_EQ(counts.released, 4u);
  EXPECT_EQ(counts.ignored, 3u);
  EXPECT_EQ(bench->status(), 15u);
}

TEST_P(BalloonTest, PoisonedPagesStayAsTheyAre) {
  ASSERT_NO_FATAL_FAILURE(start({.free_page_reporting = true}));
  bench->set_config<std::uint32_t>(12, 0x5a5a5a5a);
  offer_free(3, spare * page, page);
  EXPECT_EQ(content(spare), 0x5a);
  EXPECT_EQ(balloon->counts().reported, 1u);
  EXPECT_EQ(balloon->counts().released, 0u);
  send(0, {spare});
  EXPECT_EQ(content(spare), 0) << "a page that was given is the host's all the same";

  bench->start(4, 16, abi::balloon_f_page_poison);
  bench->set_config<std::uint32_t>(12, 0x5a5a5a5a);
  offer_free(3, (spare + 1) * page, page);
  EXPECT_EQ(content(spare + 1), 0) << "without the feature the value says nothing";
}

TEST_P(BalloonTest, HintsAreToldOfTheRunTheyBelongTo) {
  std::mutex mutex;
  std::vector<GuestRange> hints;
  ASSERT_NO_FATAL_FAILURE(start({.hints = [&](const GuestRange& range) {
    const std::lock_guard lock(mutex);
    hints.push_back(range);
  }}));
  const auto command = [&](std::uint32_t id) { ASSERT_NO_FATAL_FAILURE(send(3, {id})); };
  EXPECT_EQ(bench->config<std::uint32_t>(8), abi::balloon_hint_done);
  ASSERT_TRUE(balloon->start_hinting());
  const auto run = bench->config<std::uint32_t>(8);
  EXPECT_GE(run, abi::balloon_hint_first);
  EXPECT_TRUE(bench->take_config_change());

  offer_free(3, spare * page, page);  // before the run was acknowledged
  command(run + 1);
  offer_free(3, spare * page, page);  // of a run that is none
  command(run);
  offer_free(3, (spare + 1) * page, 4 * page);
  offer_free(3, TestGuest::default_size, page);
  EXPECT_FALSE(balloon->hinting_ended());
  command(abi::balloon_hint_stop);
  EXPECT_TRUE(balloon->hinting_ended());
  offer_free(3, spare * page, page);  // after its end
  EXPECT_EQ(content(spare + 1), 0x5a) << "a hint takes nothing away";
  balloon->finish_hinting();
  EXPECT_EQ(bench->config<std::uint32_t>(8), abi::balloon_hint_done);
  bench->settle();
  const std::lock_guard lock(mutex);
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0], (GuestRange{{(spare + 1) * page}, 4 * page}));
  EXPECT_EQ(balloon->counts().hinted, 4u);
  EXPECT_EQ(balloon->counts().ignored, 1u);
}

TEST_P(BalloonTest, WithoutASinkThereIsNoHinting) {
  ASSERT_NO_FATAL_FAILURE(start({.deflate_on_oom = true}));
  EXPECT_EQ(bench->offered() & 0xffffff, abi::balloon_f_stats_vq | abi::balloon_f_deflate_on_oom);
  EXPECT_EQ(balloon->start_hinting().error().code(), Errc::unsupported);
}

TEST_P(BalloonTest, BrokenChainsNeedAReset) {
  ASSERT_NO_FATAL_FAILURE(start({.free_page_reporting = true}));
  for (const unsigned queue : {0u, 2u}) {
    ASSERT_TRUE(bench->queue(queue).add({{{0xffff0000}, 16, false}}));
    bench->kick(queue);
    EXPECT_TRUE(bench->wait_status(abi::status_needs_reset)) << queue;
    bench->start(5);
  }
  bench->queue(3).offer({{spare * page, 4097, abi::desc_f_write | abi::desc_f_indirect, 0}});
  bench->kick(3);
  EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
  EXPECT_EQ(content(spare), 0x5a) << "a broken chain gives nothing away";
}

INSTANTIATE_TEST_SUITE_P(Homes, BalloonTest, ::testing::ValuesIn(all_homes),
                         [](const auto& home) { return std::string(name(home.param)); });

TEST(BalloonCreate, NamesTheOptionOutOfBounds) {
  EXPECT_EQ(virtio::Balloon::create({.queue_size = 3}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(virtio::Balloon::create({.target_mib = std::uint64_t{1} << 24}).error().code(), Errc::out_of_range);
}

}  // namespace
}  // namespace trivet::test
