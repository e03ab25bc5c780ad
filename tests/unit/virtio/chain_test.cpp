// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include <trivet/test/driver.hpp>
#include <trivet/virtio/queue.hpp>

namespace trivet::virtio {
namespace {

using test::Driver;
using test::RawDescriptor;
using test::TestGuest;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::uint16_t next_flag = abi::desc_f_next;
constexpr std::uint16_t write_flag = abi::desc_f_write;
constexpr std::uint16_t indirect_flag = abi::desc_f_indirect;

struct Walk {
  std::vector<Descriptor> descriptors;
  std::string error;
};

Walk walk(Chain chain) {
  Walk result;
  for (;;) {
    const auto descriptor = chain.next();
    if (!descriptor) {
      EXPECT_EQ(descriptor.error().code(), Errc::malformed);
      EXPECT_EQ(descriptor.error().blame(), Blame::guest);
      result.error = to_string(descriptor.error());
      const auto again = chain.next();
      EXPECT_TRUE(!again && to_string(again.error()) == result.error) << "an error never becomes an end";
      return result;
    }
    if (!*descriptor) {
      EXPECT_FALSE(*chain.next()) << "the end stays the end";
      return result;
    }
    result.descriptors.push_back(**descriptor);
  }
}

class ChainTest : public testing::TestWithParam<test::RingPlace> {
 protected:
  Chain pop() {
    auto popped = queue.pop();
    EXPECT_TRUE(popped && *popped);
    return **popped;
  }

  /// The error of a chain from descriptor 0, or of a packed ring's next.
  std::string error_of(const std::vector<RawDescriptor>& descriptors) {
    driver.offer(descriptors);
    const auto chain = pop();
    const auto error = walk(chain).error;
    EXPECT_TRUE(queue.push_used(chain.id(), 0));
    return error;
  }

  std::string error_of_table(const std::vector<RawDescriptor>& table, std::uint32_t length) {
    return error_of({{driver.place_table(table).value, length, indirect_flag, 0}});
  }

  [[nodiscard]] static bool packed() { return (GetParam().ring.features & abi::f_ring_packed) != 0; }

  TestGuest guest{TestGuest::default_size, {0}, false, GetParam().pages};
  Driver driver{guest, 8, GetParam().ring.features};
  Queue queue = driver.queue();
};

/// What only a split ring's chains can do: follow `next`.
class SplitChainTest : public ChainTest {};

using Descriptors = std::vector<Descriptor>;

INSTANTIATE_TEST_SUITE_P(Rings, ChainTest, testing::ValuesIn(test::places_of({test::split_ring, test::packed_ring})),
                         [](const auto& place) { return to_string(place.param); });
INSTANTIATE_TEST_SUITE_P(Rings, SplitChainTest, testing::ValuesIn(test::places_of({test::split_ring})),
                         [](const auto& place) { return to_string(place.param); });

TEST_P(ChainTest, WalksDirectDescriptorsInOrder) {
  driver.add({{{0x1000}, 10, false}, {{0x2000}, 0, false}, {{0x3000}, 30, true}});
  const Chain chain = pop();
  const Walk result = walk(chain);
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(result.descriptors, (Descriptors{{{0x1000}, 10, false}, {{0x2000}, 0, false}, {{0x3000}, 30, true}}));
  EXPECT_EQ(walk(chain).descriptors.size(), 3U) << "a copy starts where it stood";
  EXPECT_EQ(chain.id(), 0);
  EXPECT_EQ(&chain.memory(), &guest.memory());
}

TEST_P(ChainTest, WalksAnIndirectTable) {
  driver.add_indirect({{{0x1000}, 10, false}, {{0x2000}, 20, true}, {{0x3000}, 30, true}});
  const Walk result = walk(pop());
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(result.descriptors, (Descriptors{{{0x1000}, 10, false}, {{0x2000}, 20, true}, {{0x3000}, 30, true}}));
}

TEST_P(SplitChainTest, WalksDirectDescriptorsThatEndInATable) {
  const std::vector<Driver::Buffer> buffers = {
      {{0x1000}, 1, false}, {{0x2000}, 2, false}, {{0x3000}, 3, true}, {{0x4000}, 4, true}};
  driver.add_mixed(buffers, 2);
  const Walk result = walk(pop());
  EXPECT_EQ(result.error, "");
  ASSERT_EQ(result.descriptors.size(), 4U);
  EXPECT_EQ(result.descriptors[3], (Descriptor{{0x4000}, 4, true}));
}

TEST_P(ChainTest, IgnoresTheWriteFlagOfATable) {
  const auto table = driver.place_table(std::vector<RawDescriptor>{{0x1000, 5, 0, 0}});
  EXPECT_EQ(error_of({{table.value, 16, std::uint16_t(indirect_flag | write_flag), 0}}), "");
}

TEST_P(ChainTest, AcceptsATableAtAnyAddressAndWithUnusedEntries) {
  const auto space = guest.allocate(64);
  const abi::VirtqDesc raw{abi::le64(0x5000), abi::le32(7), abi::le16(0), abi::le16(0)};
  ASSERT_TRUE(guest.memory().write_object({space.value + 3}, raw));
  const std::uint32_t length = packed() ? 16 : 48;  // of a packed table all entries count
  driver.offer({{space.value + 3, length, indirect_flag, 0}});
  EXPECT_EQ(walk(pop()).descriptors, (Descriptors{{{0x5000}, 7, false}}));
}

TEST_P(ChainTest, AsLongAsTheQueueIsAllowedDirectAndIndirect) {
  const std::vector<Driver::Buffer> full(8, {{0x1000}, 1, true});
  driver.add(full);
  EXPECT_EQ(walk(pop()).descriptors.size(), 8U);
  TestGuest other_guest(TestGuest::default_size, {0}, false, GetParam().pages);
  Driver other(other_guest, 8, GetParam().ring.features);
  Queue other_queue = other.queue();
  other.add_indirect(full);
  EXPECT_EQ(walk(**other_queue.pop()).descriptors.size(), 8U);
}

TEST_P(SplitChainTest, ALoopIsAnError) {
  EXPECT_THAT(
      error_of({{0x1000, 1, next_flag, 1}, {0x2000, 1, next_flag, 0}}),
      AllOf(HasSubstr("queue 0: chain 0: descriptor 0"), HasSubstr("longer than the queue"), HasSubstr("2.7.5")));
  EXPECT_THAT(error_of({{0x1000, 0, next_flag, 0}}), HasSubstr("longer than the queue"));
}

TEST_P(SplitChainTest, ALoopInATableIsAnError) {
  EXPECT_THAT(error_of_table({{0x1000, 1, next_flag, 1}, {0x2000, 1, next_flag, 0}}, 32),
              HasSubstr("longer than the queue"));
  const std::vector<RawDescriptor> nine = {{1, 1, next_flag, 1}, {1, 1, next_flag, 2}, {1, 1, next_flag, 3},
                                           {1, 1, next_flag, 4}, {1, 1, next_flag, 5}, {1, 1, next_flag, 6},
                                           {1, 1, next_flag, 7}, {1, 1, next_flag, 8}, {1, 1, 0, 0}};
  EXPECT_THAT(error_of_table(nine, 9 * 16), HasSubstr("longer than the queue"));
}

TEST_P(SplitChainTest, NextBeyondTheTableIsAnError) {
  EXPECT_THAT(error_of({{0x1000, 1, next_flag, 8}}),
              AllOf(HasSubstr("descriptor 8 lies beyond the table"), HasSubstr("2.7.5")));
  EXPECT_THAT(error_of_table({{0x1000, 1, next_flag, 1}}, 16), HasSubstr("indirect descriptor 1 lies beyond"));
  EXPECT_THAT(error_of({{0x1000, 1, next_flag, 65535}}), HasSubstr("descriptor 65535"));
}

TEST_P(ChainTest, TablesThatCannotBeAreErrors) {
  EXPECT_THAT(error_of({{0x1000, 0, indirect_flag, 0}}), HasSubstr("empty indirect table"));
  EXPECT_THAT(error_of({{0x1000, 17, indirect_flag, 0}}), AllOf(HasSubstr("multiple of 16"), HasSubstr("0x11")));
  EXPECT_THAT(error_of({{0x1000, 32769 * 16, indirect_flag, 0}}), HasSubstr("32768 entries"));
  EXPECT_THAT(error_of({{~std::uint64_t{0} - 7, 16, indirect_flag, 0}}), HasSubstr("outside memory"));
  EXPECT_THAT(error_of({{TestGuest::default_size - 16, 32, indirect_flag, 0}}),
              HasSubstr("outside memory: address 0x3ffff0"));
  const std::vector<RawDescriptor> nine(9, {1, 1, packed() ? std::uint16_t{0} : next_flag, 0});
  EXPECT_THAT(error_of_table(nine, 9 * 16), HasSubstr("longer than the queue"));
}

TEST_P(ChainTest, MoreThanFourGibibytesIsAnError) {
  EXPECT_EQ(error_of({{0x1000, 0xffffffff, next_flag, 1}, {0x1000, 1, 0, 0}}), "") << "2^32 exactly is allowed";
  EXPECT_THAT(error_of({{0x1000, 0xffffffff, next_flag, 1}, {0x1000, 2, 0, 0}}),
              AllOf(HasSubstr("descriptor 1"), HasSubstr("2^32"), HasSubstr("2.7.5.2")));
}

TEST_P(ChainTest, ReadableAfterWritableIsAnError) {
  EXPECT_THAT(error_of({{0x1000, 1, std::uint16_t(write_flag | next_flag), 1}, {0x1000, 1, 0, 0}}),
              AllOf(HasSubstr("descriptor 1"), HasSubstr("device-readable after"), HasSubstr("2.7.4.2")));
  EXPECT_THAT(error_of_table({{0x1000, 0, std::uint16_t(write_flag | next_flag), 1}, {0x1000, 1, 0, 0}}, 32),
              HasSubstr("device-readable after"));
}

TEST_P(SplitChainTest, BrokenTablesAreErrors) {
  EXPECT_THAT(error_of({{0x1000, 16, std::uint16_t(indirect_flag | next_flag), 1}}), HasSubstr("INDIRECT and NEXT"));
  EXPECT_THAT(error_of_table({{0x1000, 16, indirect_flag, 0}}, 16),
              AllOf(HasSubstr("indirect descriptor 0"), HasSubstr("inside an indirect table")));
}

TEST_P(SplitChainTest, ATableMayHave32768EntriesAndAnyOrder) {
  const auto table = guest.allocate(32768 * 16);
  const auto entry = [&](std::uint64_t index, std::uint64_t address, std::uint16_t flags, std::uint16_t next) {
    const abi::VirtqDesc raw{abi::le64(address), abi::le32(1), abi::le16(flags), abi::le16(next)};
    ASSERT_TRUE(guest.memory().write_object({table.value + 16 * index}, raw));
  };
  entry(0, 0x1000, next_flag, 32767);
  entry(32767, 0x2000, next_flag, 3);
  entry(3, 0x3000, 0, 0);
  driver.set_descriptor(0, {table.value, 32768 * 16, indirect_flag, 0});
  driver.make_available(0);
  const Walk good = walk(pop());
  EXPECT_EQ(good.error, "");
  EXPECT_EQ(good.descriptors, (Descriptors{{{0x1000}, 1, false}, {{0x2000}, 1, false}, {{0x3000}, 1, false}}));
  entry(3, 0x3000, next_flag, 32768);
  driver.make_available(0);
  EXPECT_THAT(walk(pop()).error, HasSubstr("indirect descriptor 32768 lies beyond the table"));
}

TEST(Chain, ATableWithoutTheFeatureIsAnError) {
  for (const auto features : {abi::f_event_idx, abi::f_event_idx | abi::f_ring_packed}) {
    TestGuest guest;
    Driver driver(guest, 8, features);
    Queue queue = driver.queue();
    driver.add_indirect({{{0x1000}, 1, false}});
    EXPECT_THAT(walk(**queue.pop()).error, HasSubstr("VIRTIO_F_INDIRECT_DESC was not negotiated"));
  }
}

TEST(Chain, ErrorsNameTheirQueue) {
  TestGuest guest;
  Driver driver(guest, 2);
  auto config = driver.config();
  config.index = 7;
  Queue queue = *Queue::create(config, guest.map());
  driver.set_descriptor(1, {0, 1, next_flag, 9});
  driver.make_available(1);
  const Chain chain = **queue.pop();
  EXPECT_EQ(chain.queue(), 7U);
  EXPECT_THAT(walk(chain).error, HasSubstr("queue 7: chain 1: descriptor 9"));
}

}  // namespace
}  // namespace trivet::virtio
