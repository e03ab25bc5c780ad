// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include <trivet/memory/mapping.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/test/driver.hpp>
#include <trivet/virtio/reader.hpp>
#include <trivet/virtio/writer.hpp>

namespace trivet::virtio {
namespace {

using test::Driver;
using test::TestGuest;
using testing::HasSubstr;

class ReaderWriterTest : public testing::TestWithParam<test::RingPlace> {
 protected:
  Chain make(const std::vector<Driver::Buffer>& buffers, bool indirect = false) {
    EXPECT_TRUE(indirect ? driver.add_indirect(buffers) : driver.add(buffers));
    return **queue.pop();
  }

  /// A request and room for its answer, cut into pieces of at most `piece` bytes.
  Chain make_cut(std::string_view request, std::uint32_t room, std::uint32_t piece, bool indirect) {
    std::vector<Driver::Buffer> buffers;
    for (std::size_t i = 0; i < request.size(); i += piece) {
      const auto part = request.substr(i, piece);
      buffers.push_back({guest.place(part), static_cast<std::uint32_t>(part.size()), false});
    }
    answer.clear();
    for (std::uint32_t i = 0; i < room; i += piece) {
      const std::uint32_t part = std::min(piece, room - i);
      answer.push_back({guest.allocate(part), part, true});
      buffers.push_back(answer.back());
    }
    return make(buffers, indirect);
  }

  std::string answered() {
    std::string text;
    for (const auto& buffer : answer) text += guest.text(buffer.address, buffer.length);
    return text;
  }

  static std::string read(Reader& reader, std::size_t size) {
    std::string text(size, '\0');
    const auto result = reader.read(std::as_writable_bytes(std::span(text)));
    return result ? text : to_string(result.error());
  }
  static ConstBytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

  TestGuest guest{TestGuest::default_size, {0}, true, GetParam().pages};
  Driver driver{guest, 128, GetParam().ring.features};
  Queue queue = driver.queue();
  std::vector<Driver::Buffer> answer;
};

/// Whose descriptors the driver may still change: a packed ring's are copied.
class SplitReaderWriterTest : public ReaderWriterTest {};

INSTANTIATE_TEST_SUITE_P(Rings, ReaderWriterTest,
                         testing::ValuesIn(test::places_of({test::split_ring, test::packed_ring})),
                         [](const auto& place) { return to_string(place.param); });
INSTANTIATE_TEST_SUITE_P(Rings, SplitReaderWriterTest, testing::ValuesIn(test::places_of({test::split_ring})),
                         [](const auto& place) { return to_string(place.param); });

TEST_P(ReaderWriterTest, AnyLayoutReadsAndWritesTheSame) {
  const std::string request = "a header of 17 b.and its payload";
  for (const bool indirect : {false, true}) {
    for (std::uint32_t piece = 1; piece <= request.size(); ++piece) {
      const Chain chain = make_cut(request, 20, piece, indirect);
      Reader reader = *Reader::create(chain);
      EXPECT_EQ(reader.left(), request.size());
      const auto header = reader.read_object<std::array<char, 17>>();
      ASSERT_TRUE(header);
      EXPECT_EQ(std::string(header->begin(), header->end()), "a header of 17 b.");
      EXPECT_EQ(read(reader, reader.left()), "and its payload");
      EXPECT_EQ(reader.left(), 0U);

      Writer writer = *Writer::create(chain);
      EXPECT_EQ(writer.left(), 20U);
      ASSERT_TRUE(writer.write_object(std::array<char, 4>{'h', 'e', 'a', 'd'}));
      ASSERT_TRUE(writer.write(bytes_of("0123456789")));
      ASSERT_TRUE(writer.fill(6, std::byte{'.'}));
      EXPECT_EQ(writer.written(), 20U);
      EXPECT_EQ(writer.left(), 0U);
      EXPECT_EQ(answered(), "head0123456789......");
      ASSERT_TRUE(queue.push_used(chain.id(), writer.written()));
      ASSERT_TRUE(driver.take_used());
    }
  }
}

TEST_P(ReaderWriterTest, EmptyBuffersAreSkipped) {
  const auto text = guest.place("ab");
  const auto room = guest.allocate(8);
  const Chain chain = make({{{0x7fff'0000'0000}, 0, false},
                            {text, 1, false},
                            {{0}, 0, false},
                            {{text.value + 1}, 1, false},
                            {{1}, 0, true},
                            {room, 8, true},
                            {{2}, 0, true}});
  Reader reader = *Reader::create(chain);
  EXPECT_EQ(read(reader, 2), "ab");
  Writer writer = *Writer::create(chain);
  ASSERT_TRUE(writer.write(bytes_of("12345678")));
  EXPECT_EQ(guest.text(room, 8), "12345678");
}

TEST_P(ReaderWriterTest, AChainWithoutADirectionHasNothingThere) {
  const Chain chain = make({{guest.place("only"), 4, false}});
  Writer writer = *Writer::create(chain);
  EXPECT_EQ(writer.left(), 0U);
  EXPECT_TRUE(writer.write({}));
  const auto wrote = writer.write(bytes_of("x"));
  ASSERT_FALSE(wrote);
  EXPECT_EQ(wrote.error().code(), Errc::malformed);
  EXPECT_EQ(wrote.error().blame(), Blame::guest);
  EXPECT_THAT(to_string(wrote.error()), HasSubstr("queue 0: chain 0: 0 bytes of room where 1 are needed"));
}

TEST_P(ReaderWriterTest, TooShortAReadTakesNothing) {
  Reader reader = *Reader::create(make({{guest.place("short"), 5, false}}));
  const auto header = reader.read_object<std::uint64_t>();
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().code(), Errc::malformed);
  EXPECT_THAT(to_string(header.error()), HasSubstr("5 bytes to read where 8 are needed"));
  EXPECT_EQ(read(reader, 5), "short");
  EXPECT_FALSE(reader.skip(1));
  EXPECT_FALSE(reader.take(1));
}

TEST_P(ReaderWriterTest, SplitsOffParts) {
  const Chain chain = make_cut("header:payload:trailer", 12, 5, false);
  Reader reader = *Reader::create(chain);
  Reader header = *reader.take(7);
  ASSERT_TRUE(reader.skip(8));
  EXPECT_EQ(header.left(), 7U);
  EXPECT_EQ(reader.left(), 7U);
  EXPECT_EQ(read(reader, 7), "trailer");
  EXPECT_EQ(read(header, 7), "header:");
  EXPECT_FALSE(header.skip(1)) << "a part ends where it ends";

  Writer status = *Writer::create(chain);
  Writer data = *status.take(status.left() - 1);
  ASSERT_TRUE(status.write(bytes_of("S")));
  ASSERT_TRUE(data.write(bytes_of("data")));
  ASSERT_TRUE(data.skip(3));
  ASSERT_TRUE(data.write(bytes_of("DATA")));
  EXPECT_FALSE(data.write(bytes_of("x")));
  EXPECT_EQ(data.written(), 8U);
  EXPECT_EQ(status.written(), 1U);
  EXPECT_EQ(answered(), std::string("data\0\0\0DATAS", 12));
}

TEST_P(ReaderWriterTest, SlicesAreTheBuffersAndMoveOn) {
  const Chain chain = make_cut("0123456789", 10, 4, true);
  Reader reader = *Reader::create(chain);
  ASSERT_TRUE(reader.skip(1));
  std::array<memory::Slice, 3> runs;
  EXPECT_EQ(reader.slices(9, std::span(runs).first(2)).error().code(), Errc::limit);
  EXPECT_EQ(reader.left(), 9U) << "nothing moved";
  ASSERT_EQ(*reader.slices(8, runs), 3U);
  EXPECT_EQ(runs[0].size(), 3U);
  EXPECT_EQ(runs[2].size(), 1U);
  std::string text(4, '\0');
  runs[1].read(0, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(text, "4567");
  EXPECT_EQ(read(reader, 1), "9");
  EXPECT_FALSE(reader.slices(1, runs));

  Writer writer = *Writer::create(chain);
  auto* const dirty = guest.memory().regions()[0]->dirty();
  EXPECT_EQ(dirty != nullptr, GetParam().pages == test::Pages::host);
  if (dirty != nullptr) dirty->clear();
  ASSERT_EQ(*writer.slices(10, runs), 3U);
  EXPECT_EQ(writer.written(), 0U) << "the caller knows what became of them";
  EXPECT_EQ(writer.left(), 0U);
  const auto page = answer[1].address.value / 4096;
  EXPECT_FALSE(dirty != nullptr && dirty->is_dirty(page));
  runs[1].host()[0] = std::byte{'!'};
  runs[1].mark_written(0, 1);
  EXPECT_TRUE(dirty == nullptr || dirty->is_dirty(page));
  EXPECT_EQ(guest.text(answer[1].address, 1), "!");
}

TEST_P(ReaderWriterTest, BuffersMayCrossRegions) {
  constexpr std::uint64_t seam = TestGuest::default_size;
  ASSERT_TRUE(guest.map()->insert(*memory::Region::create({seam}, *memory::Mapping::anonymous(4096), {})));
  const Chain chain = make({{{seam - 3}, 6, false}, {{seam - 8}, 16, true}});
  ASSERT_TRUE(chain.memory().write({seam - 3}, bytes_of("abcdef")));
  Reader reader = *Reader::create(chain);
  EXPECT_EQ(read(reader, 6), "abcdef");
  Writer writer = *Writer::create(chain);
  std::array<memory::Slice, 2> runs;
  Writer copy = writer;
  EXPECT_EQ(*copy.slices(16, runs), 2U);
  ASSERT_TRUE(writer.fill(16, std::byte{'z'}));
  std::string text(16, '\0');
  ASSERT_TRUE(chain.memory().read({seam - 8}, std::as_writable_bytes(std::span(text))));
  EXPECT_EQ(text, std::string(16, 'z'));
}

TEST_P(ReaderWriterTest, BuffersOutsideMemoryOrReadOnlyAreErrors) {
  constexpr std::uint64_t rom = std::uint64_t{1} << 32;
  ASSERT_TRUE(guest.map()->insert(
      *memory::Region::create({rom}, *memory::Mapping::anonymous(4096), {Access::read_only, false})));
  const Chain chain = make({{{TestGuest::default_size - 2}, 4, false}, {{rom}, 4, true}});
  Reader reader = *Reader::create(chain);
  std::array<std::byte, 4> out{};
  const auto got = reader.read(out);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), Errc::out_of_range);
  EXPECT_EQ(got.error().blame(), Blame::guest);
  Writer writer = *Writer::create(chain);
  const auto wrote = writer.write(out);
  ASSERT_FALSE(wrote);
  EXPECT_EQ(wrote.error().code(), Errc::permission);
  EXPECT_FALSE(writer.fill(1, std::byte{0}));

  const Chain last = make({{{~std::uint64_t{0} - 1}, 8, false}});
  Reader wrapping = *Reader::create(last);
  EXPECT_FALSE(wrapping.read(out));
  ASSERT_TRUE(wrapping.skip(4)) << "nothing is accessed";
  EXPECT_EQ(wrapping.left(), 4U);
}

TEST_P(SplitReaderWriterTest, ABrokenChainIsRefusedBeforeAnyWork) {
  driver.set_descriptor(0, {0x1000, 4, abi::desc_f_next, 1});
  driver.set_descriptor(1, {0x2000, 4, std::uint16_t(abi::desc_f_next | abi::desc_f_write), 200});
  driver.make_available(0);
  const Chain chain = **queue.pop();
  EXPECT_THAT(to_string(Reader::create(chain).error()), HasSubstr("descriptor 200"));
  EXPECT_THAT(to_string(Writer::create(chain).error()), HasSubstr("descriptor 200"));
}

TEST_P(SplitReaderWriterTest, DescriptorsThatChangeAfterTheCheckAreCheckedAgain) {
  const auto text = guest.place("abcdefgh");
  const auto chain = make({{text, 4, false}, {text, 4, false}, {text, 4, true}});
  Reader reader = *Reader::create(chain);
  driver.set_descriptor(0, {text.value, 2, 0, 0});  // the chain now ends early
  EXPECT_THAT(read(reader, 8), HasSubstr("changed"));
  Writer writer = *Writer::create(make({{text, 4, true}, {text, 4, true}}));
  std::array<std::byte, 8> in{};
  driver.set_descriptor(3, {text.value, 4, std::uint16_t(abi::desc_f_next | abi::desc_f_write), 999});
  EXPECT_THAT(to_string(writer.write(in).error()), HasSubstr("descriptor 999"));

  const auto mixed = make({{text, 4, false}, {text, 4, false}});
  Reader flipped = *Reader::create(mixed);
  driver.set_descriptor(static_cast<std::uint16_t>(mixed.id() + 1), {text.value, 4, abi::desc_f_write, 0});
  EXPECT_THAT(read(flipped, 8), HasSubstr("changed"));
  Reader kept = *Reader::create(mixed);
  driver.set_descriptor(mixed.id(), {text.value, 4, abi::desc_f_write, 0});
  EXPECT_EQ(read(kept, 4), guest.text(text, 4)) << "the first buffer is the one that was checked";
  EXPECT_THAT(to_string(Reader::create(mixed)->take(1).error()), HasSubstr("0 bytes to read"));
}

TEST_P(SplitReaderWriterTest, TablesThatChangeAfterTheCheckAreCheckedAgain) {
  const auto text = guest.place("abcdefgh");
  const auto entry = [&](GuestAddress table, std::uint64_t index, std::uint32_t length, std::uint16_t flags,
                         std::uint16_t next) {
    const abi::VirtqDesc raw{abi::le64(text.value), abi::le32(length), abi::le16(flags), abi::le16(next)};
    ASSERT_TRUE(guest.memory().write_object({table.value + 16 * index}, raw));
  };
  const auto table = guest.allocate(3 * 16);
  const auto fresh = [&] {
    entry(table, 0, 4, abi::desc_f_next, 1);
    entry(table, 1, 4, abi::desc_f_next, 2);
    entry(table, 2, 4, abi::desc_f_write, 0);
    driver.set_descriptor(0, {table.value, 3 * 16, abi::desc_f_indirect, 0});
    driver.make_available(0);
    return *Reader::create(**queue.pop());
  };
  Reader kept = fresh();
  EXPECT_EQ(read(kept, 8), "abcdabcd");
  Reader ended = fresh();
  entry(table, 0, 4, 0, 0);
  EXPECT_THAT(read(ended, 8), HasSubstr("changed"));
  Reader strayed = fresh();
  entry(table, 0, 4, abi::desc_f_next, 3);
  EXPECT_THAT(read(strayed, 8), HasSubstr("indirect descriptor 3 lies beyond the table"));
  Reader flipped = fresh();
  entry(table, 1, 4, abi::desc_f_write, 0);
  EXPECT_THAT(read(flipped, 8), HasSubstr("changed"));
  Reader grown = fresh();
  entry(table, 1, 100, abi::desc_f_next, 2);
  EXPECT_EQ(read(grown, 8), "abcdabcd") << "no more than what was there when it was checked";
  EXPECT_EQ(grown.left(), 0U);
  Reader lost = fresh();
  driver.set_descriptor(0, {TestGuest::default_size, 48, abi::desc_f_indirect, 0});
  EXPECT_THAT(read(lost, 8), HasSubstr("outside memory"));
}

TEST_P(SplitReaderWriterTest, WhatIsSkippedIsCheckedAgainToo) {
  const auto text = guest.place("abcdefgh");
  const auto chain = make({{text, 4, false}, {text, 4, false}});
  Reader reader = *Reader::create(chain);
  driver.set_descriptor(chain.id(), {text.value, 4, 0, 0});
  ASSERT_TRUE(reader.skip(4)) << "the first buffer is the one that was checked";
  EXPECT_THAT(to_string(reader.skip(1).error()), HasSubstr("changed"));
}

/// Of a packed ring only tables can change.
TEST(PackedReaderWriter, TablesThatChangeAfterTheCheckAreCheckedAgain) {
  TestGuest guest;
  Driver driver(guest, 8, Driver::packed_features);
  Queue queue = driver.queue();
  const auto text = guest.place("abcdefgh");
  const auto table = guest.allocate(3 * 16);
  const auto entry = [&](std::uint64_t index, std::uint32_t length, std::uint16_t flags) {
    const abi::PvirtqDesc raw{abi::le64(text.value), abi::le32(length), abi::le16(0xffff), abi::le16(flags)};
    ASSERT_TRUE(guest.memory().write_object({table.value + 16 * index}, raw));
  };
  const auto fresh = [&] {
    entry(0, 4, 0);
    entry(1, 4, 0);
    entry(2, 4, abi::desc_f_write);
    driver.offer({{table.value, 3 * 16, abi::desc_f_indirect, 0}});
    return *Reader::create(**queue.pop());
  };
  std::array<std::byte, 8> out{};
  Reader kept = fresh();
  EXPECT_TRUE(kept.read(out));
  Reader flipped = fresh();
  entry(1, 4, abi::desc_f_write);
  EXPECT_THAT(to_string(flipped.read(out).error()), HasSubstr("changed"));
  Reader shrunk = fresh();
  entry(1, 3, 0);
  EXPECT_THAT(to_string(shrunk.read(out).error()), HasSubstr("changed"));
  Reader grown = fresh();
  entry(1, 100, 0);
  EXPECT_TRUE(grown.read(out)) << "no more than what was there when it was checked";
  EXPECT_EQ(grown.left(), 0U);
}

TEST_P(ReaderWriterTest, TheLastBytesSplitOffHoweverTheBuffersAreCut) {
  for (const std::vector<std::uint32_t>& lengths : std::vector<std::vector<std::uint32_t>>{
           {9}, {8, 1}, {4, 5}, {4, 4, 1}, {4, 0, 4, 1}, {8, 1, 0}, {1, 1, 1, 1, 1, 1, 1, 1, 1}}) {
    std::vector<Driver::Buffer> buffers;
    for (const auto length : lengths) buffers.push_back({guest.allocate(16), length, true});
    answer = buffers;
    Writer writer = *Writer::create(make(buffers));
    ASSERT_TRUE(writer.write(bytes_of("ab")));
    const auto status = writer.take_last(1);
    ASSERT_TRUE(status) << status.error().detail();
    ASSERT_EQ(status->size(), 1U);
    status->write(0, bytes_of("!"));
    EXPECT_EQ(writer.left(), 6U);
    EXPECT_EQ(writer.written(), 2U);
    ASSERT_TRUE(writer.write(bytes_of("cdefgh")));
    EXPECT_FALSE(writer.write(bytes_of("i"))) << "the last byte is not this writer's any more";
    EXPECT_FALSE(writer.take_last(1));
    EXPECT_EQ(answered(), "abcdefgh!");
  }
}

TEST_P(ReaderWriterTest, TheLastBytesOfAPartAreItsOwn) {
  answer = {{guest.allocate(8), 8, true}};
  Writer whole = *Writer::create(make(answer));
  Writer front = *whole.take(5);
  const auto of_front = front.take_last(2);
  ASSERT_TRUE(of_front);
  of_front->write(0, bytes_of("de"));
  const auto of_whole = whole.take_last(3);
  ASSERT_TRUE(of_whole);
  of_whole->write(0, bytes_of("fgh"));
  EXPECT_EQ(front.left(), 3U);
  EXPECT_EQ(whole.left(), 0U);
  ASSERT_TRUE(front.write(bytes_of("abc")));
  EXPECT_EQ(answered(), "abcdefgh");
}

TEST_P(ReaderWriterTest, LastBytesThatLieApartOrOutsideMemoryAreErrors) {
  Writer apart = *Writer::create(make({{guest.allocate(4), 4, true}, {guest.allocate(4), 4, true}}));
  EXPECT_EQ(apart.take_last(5).error().code(), Errc::malformed);
  EXPECT_EQ(apart.left(), 8U) << "nothing moved";
  Writer outside = *Writer::create(make({{{std::uint64_t{1} << 40}, 4, true}}));
  const auto refused = outside.take_last(1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().blame(), Blame::guest);
}

TEST_P(ReaderWriterTest, ACursorHasNoRunBeyondItsEnd) {
  const Chain chain = make({{guest.place("ab"), 2, false}, {guest.allocate(4), 4, true}});
  Cursor readable, writable;
  Descriptor last;
  ASSERT_EQ(Cursor::measure(chain, readable, writable, last).rule, Rule::none);
  EXPECT_EQ(last.length, 4U);
  for (auto* cursor : {&readable, &writable}) {
    while (cursor->left() != 0) ASSERT_TRUE(cursor->run(3));
    const auto beyond = cursor->run(1);
    ASSERT_FALSE(beyond);
    EXPECT_EQ(beyond.error().code(), Errc::malformed);
    EXPECT_EQ(beyond.error().blame(), Blame::guest);
  }
}

TEST_P(ReaderWriterTest, WrittenSaturatesAtWhatTheUsedRingCanTell) {
  // 2^32 bytes of room in 16 buffers that all are the same 256 MiB: only the count matters, so nothing is written but
  // skipped.
  std::vector<Driver::Buffer> buffers(16, {{0x1000}, 1U << 28, true});
  Writer writer = *Writer::create(make(buffers));
  EXPECT_EQ(writer.left(), std::uint64_t{1} << 32);
  ASSERT_TRUE(writer.skip((std::uint64_t{1} << 32) - 1));
  EXPECT_EQ(writer.left(), 1U);
}

}  // namespace
}  // namespace trivet::virtio
