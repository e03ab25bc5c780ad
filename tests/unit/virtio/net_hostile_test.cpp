// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <future>

#include <boost/asio/post.hpp>

#include "net_fixture.hpp"

namespace trivet::test {
namespace {

using namespace std::chrono_literals;

constexpr unsigned receives = 0;
constexpr unsigned transmits = 1;
constexpr unsigned commands_queue = 2;
constexpr std::uint16_t size = 16;

struct NetHostile : NetTest {
  /// It wants a reset and says which queue; after the reset it serves as before.
  void expect_fault(unsigned queue) {
    EXPECT_TRUE(bench->wait_status(abi::status_needs_reset));
    EXPECT_TRUE(bench->logged("queue " + std::to_string(queue)));
    bench->start(3, size);
    transmit(bytes_of(abi::NetHeader{}) + frame_to(own_mac, "fine"));
    EXPECT_EQ(arrived().substr(12), frame_to(own_mac, "fine"));
    EXPECT_EQ(bench->status(), 15U);
  }
};

/// What a driver can do with a split ring only.
struct NetHostileSplit : NetHostile {};
/// And with a packed one.
struct NetHostilePacked : NetHostile {};

TEST_P(NetHostileSplit, AnIndexThatJumpsNeedsAReset) {
  for (const auto queue : {receives, transmits, commands_queue}) {
    ASSERT_NO_FATAL_FAILURE(start());
    bench->queue(queue).set_available_index(size + 1);
    bench->kick(queue);
    expect_fault(queue);
  }
}

TEST_P(NetHostileSplit, AChainBeyondTheTableNeedsAReset) {
  for (const auto queue : {receives, transmits, commands_queue}) {
    ASSERT_NO_FATAL_FAILURE(start());
    bench->queue(queue).make_available(size);
    bench->kick(queue);
    expect_fault(queue);
  }
}

TEST_P(NetHostileSplit, AChainThatLoopsNeedsAReset) {
  for (const auto queue : {receives, transmits, commands_queue}) {
    ASSERT_NO_FATAL_FAILURE(start());
    const std::uint16_t flags = abi::desc_f_next | (queue == receives ? abi::desc_f_write : 0);
    bench->queue(queue).set_descriptor(0, {bench->guest.allocate(64).value, 64, flags, 1});
    bench->queue(queue).set_descriptor(1, {bench->guest.allocate(64).value, 64, flags, 0});
    bench->queue(queue).make_available(0);
    bench->kick(queue);
    expect_fault(queue);
  }
}

TEST_P(NetHostilePacked, AChainWithoutEndNeedsAReset) {
  for (const auto queue : {receives, transmits, commands_queue}) {
    ASSERT_NO_FATAL_FAILURE(start());
    const std::uint16_t flags = abi::desc_f_next | (queue == receives ? abi::desc_f_write : 0);
    bench->queue(queue).offer(std::vector<RawDescriptor>(size, {bench->guest.allocate(64).value, 64, flags, 0}));
    bench->kick(queue);
    expect_fault(queue);
  }
}

TEST_P(NetHostilePacked, ATableAmongOtherDescriptorsNeedsAReset) {
  ASSERT_NO_FATAL_FAILURE(start());
  const RawDescriptor inner{bench->guest.allocate(64).value, 64, 0, 0};
  const auto table = bench->queue(transmits).place_table(std::span(&inner, 1)).value;
  bench->queue(transmits).offer({{inner.address, 64, abi::desc_f_next, 0}, {table, 16, abi::desc_f_indirect, 0}});
  bench->kick(transmits);
  expect_fault(transmits);
}

TEST_P(NetHostilePacked, IdsThatAreNoneHarmOnlyTheDriver) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto frame = bytes_of(abi::NetHeader{}) + frame_to(own_mac, "odd");
  const auto at = bench->guest.place(frame).value;
  for (int i = 0; i < 2; ++i) {
    bench->queue(transmits).offer({{at, static_cast<std::uint32_t>(frame.size()), 0, 0xfffe}});
    bench->kick(transmits);
    EXPECT_EQ(arrived().substr(12), frame_to(own_mac, "odd"));
  }
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(NetHostile, TablesThatAreNoneNeedAReset) {
  const auto nested = [&] {
    const RawDescriptor inner{bench->guest.allocate(16).value, 16, abi::desc_f_indirect, 0};
    return RawDescriptor{bench->queue(transmits).place_table(std::span(&inner, 1)).value, 16, abi::desc_f_indirect, 0};
  };
  const auto empty = [&] { return RawDescriptor{bench->guest.allocate(16).value, 0, abi::desc_f_indirect, 0}; };
  const auto torn = [&] { return RawDescriptor{bench->guest.allocate(32).value, 17, abi::desc_f_indirect, 0}; };
  const auto nowhere = [&] { return RawDescriptor{0xffff0000, 160, abi::desc_f_indirect, 0}; };
  const auto with = [&](auto make) {
    ASSERT_NO_FATAL_FAILURE(start());
    bench->queue(transmits).offer({make()});
    bench->kick(transmits);
    expect_fault(transmits);
  };
  // Of a packed table's flags only WRITE counts.
  const bool packed = std::ranges::find(packed_homes, GetParam()) != packed_homes.end();
  if (!packed) {
    ASSERT_NO_FATAL_FAILURE(with(nested));
  }
  ASSERT_NO_FATAL_FAILURE(with(empty));
  ASSERT_NO_FATAL_FAILURE(with(torn));
  ASSERT_NO_FATAL_FAILURE(with(nowhere));
}

TEST_P(NetHostile, BuffersOfTheWrongDirectionNeedAReset) {
  const auto with = [&](unsigned queue, std::initializer_list<bool> writable) {
    ASSERT_NO_FATAL_FAILURE(start());
    std::vector<Driver::Buffer> buffers;
    for (const bool it : writable) buffers.push_back({bench->guest.allocate(2048), 2048, it});
    ASSERT_TRUE(bench->queue(queue).add(buffers));
    bench->kick(queue);
    expect_fault(queue);
  };
  ASSERT_NO_FATAL_FAILURE(with(receives, {false}));
  ASSERT_NO_FATAL_FAILURE(with(receives, {true, false}));
  ASSERT_NO_FATAL_FAILURE(with(transmits, {true}));
  ASSERT_NO_FATAL_FAILURE(with(transmits, {true, false}));
  ASSERT_NO_FATAL_FAILURE(with(commands_queue, {true}));
}

TEST_P(NetHostile, KicksBeforeDriverOkMoveNothing) {
  ASSERT_NO_FATAL_FAILURE(make());
  ASSERT_TRUE(bench->negotiate(bench->offered() & ~bench->unwanted));
  for (unsigned queue = 0; queue < 3; ++queue) bench->add_queue(queue, size);
  ASSERT_NO_FATAL_FAILURE(send(frame_to(own_mac)));
  offer({1526});
  transmit(bytes_of(abi::NetHeader{}) + frame_to(own_mac, "early"));
  for (unsigned queue = 0; queue < 4; ++queue) bench->kick(queue);
  bench->settle();
  EXPECT_EQ(arrived(0, 20), "");
  EXPECT_EQ(bench->queue(receives).used_index(), 0);
  bench->set_driver_ok();
  bench->kick(transmits);
  EXPECT_EQ(arrived().substr(12), frame_to(own_mac, "early"));
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(NetHostile, OneKickIsABoundedTurn) {
  constexpr std::uint16_t many = 256;
  ASSERT_NO_FATAL_FAILURE(make());
  ASSERT_TRUE(bench->negotiate(bench->offered() & ~bench->unwanted));
  for (unsigned queue = 0; queue < 3; ++queue) bench->add_queue(queue, queue == transmits ? many : size);
  bench->set_driver_ok();
  net->set_link(false);  // what is sent is lost, and nothing else would end the turn
  bench->settle();
  const auto frame = bytes_of(abi::NetHeader{}) + frame_to(own_mac);
  const Driver::Buffer buffer{bench->guest.place(frame), static_cast<std::uint32_t>(frame.size()), false};
  for (int i = 0; i < many; ++i) ASSERT_TRUE(bench->queue(transmits).add({buffer}));
  std::promise<void> go;
  std::promise<unsigned> done_in_one_turn;
  boost::asio::post(bench->loop, [&] { go.get_future().wait(); });
  bench->kick(transmits);
  boost::asio::post(bench->loop, [&] { done_in_one_turn.set_value(bench->queue(transmits).used_index()); });
  go.set_value();
  EXPECT_LE(done_in_one_turn.get_future().get(), 64U);  // before anything is taken: the driver is one thread's
  for (int i = 0; i < many; ++i) ASSERT_TRUE(bench->wait_used(transmits)) << i;
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(NetHostile, MemoryMayGoUnderAFrameThatWaits) {
  ASSERT_NO_FATAL_FAILURE(start());
  const GuestRange range{{1ULL << 32}, 65536};
  bench->add_memory(range);
  ASSERT_TRUE(bench->queue(receives).add({{range.start, 1526, true}}));
  bench->kick(receives);
  const auto frame = frame_to(own_mac, std::string(4000, 'z') + "end");
  ASSERT_NO_FATAL_FAILURE(send(frame));
  bench->settle();
  bench->remove_memory(range);
  offer({1526});
  offer({1526});
  ASSERT_TRUE(bench->wait_used(receives)) << "into memory that is the guest's no more";
  EXPECT_EQ(received(), frame.substr(1514, 1526));
  EXPECT_EQ(received(), frame.substr(1514 + 1526));
  ASSERT_TRUE(bench->queue(receives).add({{range.start, 1526, true}}));
  bench->kick(receives);
  expect_fault(receives);
}

TEST_P(NetHostile, ConfigurationIsReadInAnyWidthAndEnds) {
  ASSERT_NO_FATAL_FAILURE(make({.mtu = 1500, .speed = 100}));
  const auto whole = [&] {
    std::string text;
    for (unsigned i = 0; i < 80; ++i) text += static_cast<char>(bench->config<std::uint8_t>(i));
    return text;
  }();
  EXPECT_EQ(whole.substr(0, 6), text_of(own_mac));
  EXPECT_EQ(whole.substr(sizeof(abi::NetConfig)), std::string(80 - sizeof(abi::NetConfig), '\0'));
  for (unsigned offset = 0; offset + 4 <= whole.size(); offset += 2) {
    EXPECT_EQ(bytes_of(bench->config<std::uint16_t>(offset)), whole.substr(offset, 2)) << offset;
    if (offset % 4 != 0) continue;
    EXPECT_EQ(bytes_of(bench->config<std::uint32_t>(offset)), whole.substr(offset, 4)) << offset;
  }
  bench->set_config<std::uint8_t>(0, 0xff);
  EXPECT_EQ(bench->config<std::uint8_t>(0), 0x52) << "it is read-only";
  EXPECT_EQ(bench->config<std::uint32_t>(0xf00), 0U);
}

std::string home_name(const ::testing::TestParamInfo<Home>& home) {
  return name(home.param);
}
INSTANTIATE_TEST_SUITE_P(Homes, NetHostile, ::testing::ValuesIn(all_homes), home_name);
INSTANTIATE_TEST_SUITE_P(Homes, NetHostileSplit, ::testing::ValuesIn(split_homes), home_name);
INSTANTIATE_TEST_SUITE_P(Homes, NetHostilePacked, ::testing::ValuesIn(packed_homes), home_name);

}  // namespace
}  // namespace trivet::test
