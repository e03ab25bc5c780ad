// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <gtest/gtest.h>
#include <memory>
#include <set>
#include <string>
#include <sys/stat.h>
#include <tuple>
#include <unistd.h>
#include <vector>

#include <trivet/test/homes.hpp>
#include <trivet/test/temp_file.hpp>
#include <trivet/virtio/abi/block.hpp>
#include <trivet/virtio/block.hpp>
#include <trivet/virtio/raw_disk.hpp>

namespace trivet::test {
namespace {

namespace abi = virtio::abi;
using virtio::DiskEngine;

constexpr std::uint64_t disk_size = 1 << 20;
constexpr std::uint32_t sectors = disk_size / 512;

std::string pattern(std::size_t size, unsigned seed = 0) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i + seed) * 7 + i / 251);
  return bytes;
}

struct BlockTest : ::testing::TestWithParam<std::tuple<DiskEngine, Home>> {
  void SetUp() override {
    auto backend = virtio::create_backend(*virtio::RawDisk::open(file.path(), {}), std::get<DiskEngine>(GetParam()));
    if (!backend) GTEST_SKIP() << to_string(backend.error());
  }

  void start(const virtio::RawDisk::Options& how = {}, const virtio::BlockOptions& options = {},
             std::uint64_t without = 0) {
    ASSERT_NO_FATAL_FAILURE(make(how, options));
    bench->start(options.queues, std::min<std::uint16_t>(options.queue_size, 64), without);
  }
  void make(const virtio::RawDisk::Options& how = {}, const virtio::BlockOptions& options = {},
            bool track_dirty = false) {
    bench.reset();
    auto disk = virtio::RawDisk::open(file.path(), how);
    ASSERT_TRUE(disk) << to_string(disk.error());
    auto backend = virtio::create_backend(std::move(*disk), std::get<DiskEngine>(GetParam()));
    ASSERT_TRUE(backend) << to_string(backend.error());
    auto block = virtio::Block::create(std::move(*backend), options);
    ASSERT_TRUE(block) << to_string(block.error());
    bench = make_bench(std::get<Home>(GetParam()), std::move(*block), track_dirty);
  }

  GuestAddress header(std::uint32_t type, std::uint64_t sector) {
    abi::BlockRequestHeader head{};
    head.type = type;
    head.sector = sector;
    return bench->guest.place(std::as_bytes(std::span(&head, 1)));
  }
  GuestAddress status_byte() {
    const auto at = bench->guest.place(std::string_view("\xee", 1));
    status_at = at;
    return at;
  }
  /// Sends buffers as a request and waits; the status byte, and `written`.
  std::uint8_t send(const std::vector<Driver::Buffer>& buffers, bool indirect = false, unsigned queue = 0) {
    auto& driver = bench->queue(queue);
    EXPECT_TRUE(indirect ? driver.add_indirect(buffers) : driver.add(buffers));
    if (driver.must_kick()) bench->kick(queue);
    const auto used = bench->wait_used(queue);
    EXPECT_TRUE(used);
    written = used ? used->written : 0xffffffff;
    return static_cast<std::uint8_t>(bench->guest.text(status_at, 1)[0]);
  }
  /// A request with the usual layout.
  std::uint8_t request(std::uint32_t type, std::uint64_t sector, GuestAddress data = {}, std::uint32_t length = 0,
                       unsigned queue = 0) {
    std::vector<Driver::Buffer> buffers{{header(type, sector), 16, false}};
    if (length != 0) buffers.push_back({data, length, type == abi::block_t_in || type == abi::block_t_get_id});
    buffers.push_back({status_byte(), 1, true});
    return send(buffers, false, queue);
  }
  std::uint8_t ranges(std::uint32_t type, const std::vector<std::array<std::uint64_t, 3>>& list) {
    std::vector<abi::BlockRange> out(list.size());
    for (std::size_t i = 0; i < list.size(); ++i) {
      out[i].sector = list[i][0];
      out[i].num_sectors = static_cast<std::uint32_t>(list[i][1]);
      out[i].flags = static_cast<std::uint32_t>(list[i][2]);
    }
    const auto bytes = std::as_bytes(std::span(out));
    return request(type, 0, bench->guest.place(bytes), static_cast<std::uint32_t>(bytes.size()));
  }
  /// Sends what breaks the rules; whether the device asked for a reset.
  bool breaks(const std::vector<Driver::Buffer>& buffers) {
    bench->start(1);
    EXPECT_TRUE(bench->queue(0).add(buffers));
    bench->kick(0);
    return bench->wait_status(abi::status_needs_reset);
  }

  TempFile file{disk_size};
  std::unique_ptr<DeviceBench> bench;
  GuestAddress status_at{};
  std::uint32_t written = 0;
};

TEST_P(BlockTest, WritesAndReads) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto content = pattern(8192);
  EXPECT_EQ(request(abi::block_t_out, 3, bench->guest.place(content), 8192), abi::block_s_ok);
  EXPECT_EQ(written, 1U);
  EXPECT_EQ(file.read(3 * 512, 8192), content);
  const auto back = bench->guest.allocate(8192);
  EXPECT_EQ(request(abi::block_t_in, 3, back, 8192), abi::block_s_ok);
  EXPECT_EQ(written, 8193U);
  EXPECT_EQ(bench->guest.text(back, 8192), content);
  EXPECT_EQ(request(abi::block_t_flush, 0), abi::block_s_ok);
}

TEST_P(BlockTest, TakesAnyLayout) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto content = pattern(1024);
  file.write(0, std::as_bytes(std::span(content)));
  auto& guest = bench->guest;

  // The header in 16 pieces, the data cut oddly and the status byte behind it in the same buffer.
  const auto head = header(abi::block_t_in, 0);
  const auto back = guest.allocate(1025);
  status_at = {back.value + 1024};
  std::vector<Driver::Buffer> buffers;
  for (std::uint64_t i = 0; i < 16; ++i) buffers.push_back({{head.value + i}, 1, false});
  buffers.push_back({back, 1, true});
  buffers.push_back({{back.value + 1}, 511, true});
  buffers.push_back({{back.value + 512}, 513, true});
  EXPECT_EQ(send(buffers), abi::block_s_ok);
  EXPECT_EQ(written, 1025U);
  EXPECT_EQ(guest.text(back, 1024), content);

  // Header and data in one buffer, through an indirect table, with an empty buffer among them.
  const auto more = pattern(512, 9);
  abi::BlockRequestHeader out{};
  out.type = abi::block_t_out;
  out.sector = 5U;
  std::string both(sizeof out, '\0');
  std::memcpy(both.data(), &out, sizeof out);
  both += more;
  EXPECT_EQ(send({{guest.place(both), 528, false}, {status_byte(), 1, true}}, true), abi::block_s_ok);
  EXPECT_EQ(file.read(5 * 512, 512), more);
}

TEST_P(BlockTest, TakesManySegments) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto content = pattern(50 * 512);
  const auto from = bench->guest.place(content);
  std::vector<Driver::Buffer> buffers{{header(abi::block_t_out, 0), 16, false}};
  for (std::uint64_t i = 0; i < 50; ++i) buffers.push_back({{from.value + i * 512}, 512, false});
  buffers.push_back({status_byte(), 1, true});
  EXPECT_EQ(send(buffers, true), abi::block_s_ok);
  EXPECT_EQ(file.read(0, content.size()), content);
}

TEST_P(BlockTest, ManyRequestsOfManySegmentsAtOnce) {
  ASSERT_NO_FATAL_FAILURE(start());
  constexpr unsigned count = 40;  // more than have buffers at a time
  auto& guest = bench->guest;
  auto& driver = bench->queue(0);
  std::vector<GuestAddress> statuses;
  for (unsigned n = 0; n < count; ++n) {
    const auto from = guest.place(pattern(20 * 512, n));
    std::vector<Driver::Buffer> buffers{{header(abi::block_t_out, n * 20), 16, false}};
    for (std::uint64_t i = 0; i < 20; ++i) buffers.push_back({{from.value + i * 512}, 512, false});
    buffers.push_back({status_byte(), 1, true});
    statuses.push_back(status_at);
    ASSERT_TRUE(driver.add_indirect(buffers));
  }
  bench->kick(0);
  for (unsigned n = 0; n < count; ++n) ASSERT_TRUE(bench->wait_used(0)) << n;
  for (unsigned n = 0; n < count; ++n) {
    EXPECT_EQ(guest.text(statuses[n], 1)[0], abi::block_s_ok);
    EXPECT_EQ(file.read(n * 20 * 512, 20 * 512), pattern(20 * 512, n));
  }
}

TEST_P(BlockTest, TellsItsId) {
  ASSERT_NO_FATAL_FAILURE(start({}, {.id = "disk-one"}));
  const auto at = bench->guest.place(std::string(20, 'x'));
  EXPECT_EQ(request(abi::block_t_get_id, 0, at, 20), abi::block_s_ok);
  EXPECT_EQ(written, 21U);
  EXPECT_EQ(bench->guest.text(at, 20), "disk-one" + std::string(12, '\0'));
  EXPECT_EQ(request(abi::block_t_get_id, 0, at, 4), abi::block_s_ok);
  const auto wide = bench->guest.place(std::string(30, 'x'));
  EXPECT_EQ(request(abi::block_t_get_id, 0, wide, 30), abi::block_s_ok);
  EXPECT_EQ(bench->guest.text(wide, 30).substr(20), std::string(10, 'x'));
  EXPECT_EQ(written, 20U);
}

TEST_P(BlockTest, DiscardsAndZeroes) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto content = pattern(64 << 10);
  file.write(0, std::as_bytes(std::span(content)));
  EXPECT_EQ(ranges(abi::block_t_write_zeroes, {{8, 8, 0}, {24, 8, 1}, {0, 0, 0}}), abi::block_s_ok);
  EXPECT_EQ(file.read(8 * 512, 4096), std::string(4096, '\0'));
  EXPECT_EQ(file.read(16 * 512, 4096), content.substr(8192, 4096));
  EXPECT_EQ(file.read(24 * 512, 4096), std::string(4096, '\0'));
  if ((bench->offered() & abi::block_f_discard) != 0) {
    EXPECT_EQ(ranges(abi::block_t_discard, {{64, 8, 0}, {80, 8, 0}}), abi::block_s_ok);
    EXPECT_EQ(file.read(64 * 512, 4096), std::string(4096, '\0'));
    EXPECT_EQ(file.read(72 * 512, 4096), content.substr(72 * 512, 4096));
    EXPECT_EQ(file.read(80 * 512, 4096), std::string(4096, '\0'));
    EXPECT_EQ(ranges(abi::block_t_discard, {{0, 8, 1}}), abi::block_s_unsupp) << "unmap means nothing here";
  }
  EXPECT_EQ(ranges(abi::block_t_write_zeroes, {{0, 8, 2}}), abi::block_s_unsupp) << "a flag nobody knows";
  EXPECT_EQ(ranges(abi::block_t_write_zeroes, {{sectors, 1, 0}}), abi::block_s_ioerr);
  EXPECT_EQ(ranges(abi::block_t_write_zeroes, {{~0ULL, 2, 0}}), abi::block_s_ioerr);
  EXPECT_EQ(ranges(abi::block_t_write_zeroes, std::vector(17, std::array<std::uint64_t, 3>{0, 1, 0})),
            abi::block_s_ioerr);
  EXPECT_EQ(request(abi::block_t_write_zeroes, 0, bench->guest.allocate(24), 24), abi::block_s_ioerr);
  EXPECT_EQ(request(abi::block_t_write_zeroes, 0), abi::block_s_ioerr) << "no range";
  EXPECT_EQ(file.read(0, 4096), content.substr(0, 4096)) << "what was refused changed nothing";
}

TEST_P(BlockTest, RefusesWhatTheDiskDoesNotHave) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto at = bench->guest.allocate(1024);
  EXPECT_EQ(request(abi::block_t_in, sectors, at, 512), abi::block_s_ioerr);
  EXPECT_EQ(written, 0U) << "the data before the status byte was not written";
  EXPECT_EQ(request(abi::block_t_in, sectors - 1, at, 1024), abi::block_s_ioerr);
  EXPECT_EQ(request(abi::block_t_out, ~0ULL, at, 512), abi::block_s_ioerr);
  EXPECT_EQ(request(abi::block_t_out, ~0ULL / 512, at, 1024), abi::block_s_ioerr);
  EXPECT_EQ(request(abi::block_t_in, 0, at, 511), abi::block_s_ioerr);
  EXPECT_EQ(request(abi::block_t_out, 0, at, 513), abi::block_s_ioerr);
  EXPECT_EQ(request(999, 0, at, 512), abi::block_s_unsupp);
  EXPECT_EQ(request(abi::block_t_in, sectors - 2, at, 1024), abi::block_s_ok);
  EXPECT_EQ(request(abi::block_t_in, sectors), abi::block_s_ok) << "nothing of nothing";
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(BlockTest, AReadOnlyDiskStaysAsItIs) {
  const auto content = pattern(4096);
  file.write(0, std::as_bytes(std::span(content)));
  ASSERT_NO_FATAL_FAILURE(start({.read_only = true}));
  EXPECT_NE(bench->offered() & abi::block_f_ro, 0U);
  EXPECT_EQ(bench->offered() & (abi::block_f_discard | abi::block_f_write_zeroes | abi::block_f_config_wce), 0U);
  EXPECT_EQ(request(abi::block_t_out, 0, bench->guest.allocate(512), 512), abi::block_s_ioerr);
  EXPECT_EQ(ranges(abi::block_t_write_zeroes, {{0, 8, 0}}), abi::block_s_ioerr);
  EXPECT_EQ(ranges(abi::block_t_discard, {{0, 8, 0}}), abi::block_s_ioerr);
  EXPECT_EQ(file.read(0, 4096), content);
  const auto back = bench->guest.allocate(512);
  EXPECT_EQ(request(abi::block_t_in, 0, back, 512), abi::block_s_ok);
  EXPECT_EQ(bench->guest.text(back, 512), content.substr(0, 512));
}

TEST_P(BlockTest, BrokenRequestsNeedAReset) {
  ASSERT_NO_FATAL_FAILURE(make());
  auto& guest = bench->guest;
  const auto head = header(abi::block_t_in, 0);
  const auto data = guest.allocate(512);
  EXPECT_TRUE(breaks({{head, 16, false}})) << "no status byte";
  EXPECT_TRUE(breaks({{head, 16, true}, {status_byte(), 1, true}})) << "a writable header";
  EXPECT_TRUE(breaks({{head, 15, false}, {status_byte(), 1, true}})) << "a short header";
  EXPECT_TRUE(breaks({{head, 16, false}, {status_byte(), 0, true}})) << "an empty status";
  EXPECT_TRUE(breaks({{head, 16, false}, {{0x80000000}, 512, true}, {status_byte(), 1, true}})) << "no memory";
  EXPECT_TRUE(breaks({{{TestGuest::default_size - 8}, 16, false}, {data, 512, true}, {status_byte(), 1, true}}));
  EXPECT_TRUE(breaks({{head, 16, false}, {data, 512, true}, {{~0ULL}, 1, true}})) << "a status byte nowhere";
  EXPECT_TRUE(bench->logged("status byte"));
  bench->start(1);
  EXPECT_EQ(request(abi::block_t_in, 0, data, 512), abi::block_s_ok) << "the reset recovers";
}

TEST_P(BlockTest, DescribesTheDisk) {
  ASSERT_NO_FATAL_FAILURE(start({}, {.queues = 3, .queue_size = 128}));
  EXPECT_EQ(bench->config<std::uint64_t>(0), sectors);
  EXPECT_EQ(bench->config<std::uint32_t>(12), 126U);
  EXPECT_EQ(bench->config<std::uint32_t>(20), 512U);
  EXPECT_EQ(bench->config<std::uint8_t>(32), 1U);
  EXPECT_EQ(bench->config<std::uint16_t>(34), 3U);
  EXPECT_EQ(bench->config<std::uint32_t>(40), 16U);
  EXPECT_NE(bench->offered() & abi::block_f_mq, 0U);
  bench->set_config<std::uint64_t>(0, 0);
  bench->set_config<std::uint8_t>(32, 0);
  EXPECT_EQ(bench->config<std::uint64_t>(0), sectors) << "the driver writes nothing but writeback";
  EXPECT_EQ(bench->config<std::uint8_t>(32), 0U);
}

TEST_P(BlockTest, WritesThroughWhenAsked) {
  ASSERT_NO_FATAL_FAILURE(start());
  bench->set_config<std::uint8_t>(32, 0);
  const auto content = pattern(512);
  EXPECT_EQ(request(abi::block_t_out, 0, bench->guest.place(content), 512), abi::block_s_ok);
  EXPECT_EQ(written, 1U);
  EXPECT_EQ(file.read(0, 512), content);
  EXPECT_EQ(ranges(abi::block_t_write_zeroes, {{0, 1, 0}}), abi::block_s_ok);
  EXPECT_EQ(file.read(0, 512), std::string(512, '\0'));

  ASSERT_NO_FATAL_FAILURE(start({}, {}, abi::block_f_flush));
  EXPECT_EQ(bench->config<std::uint8_t>(32), 0U) << "who cannot flush must not need to";
  EXPECT_EQ(request(abi::block_t_out, 0, bench->guest.place(content), 512), abi::block_s_ok);
  EXPECT_EQ(file.read(0, 512), content);
}

TEST_P(BlockTest, ServesSeveralQueues) {
  ASSERT_NO_FATAL_FAILURE(start({}, {.queues = 3}));
  for (unsigned queue = 0; queue < 3; ++queue) {
    const auto content = pattern(512, queue);
    EXPECT_EQ(request(abi::block_t_out, queue, bench->guest.place(content), 512, queue), abi::block_s_ok);
    EXPECT_EQ(file.read(queue * 512, 512), content);
  }
}

TEST_P(BlockTest, AResetDrainsWhatIsInFlight) {
  ASSERT_NO_FATAL_FAILURE(make());
  for (unsigned round = 0; round < 10; ++round) {
    bench->start(1, 64);
    const auto from = bench->guest.place(pattern(4096, round));
    for (unsigned n = 0; n < 20; ++n) {
      ASSERT_TRUE(bench->queue(0).add(
          {{header(abi::block_t_out, n * 8), 16, false}, {from, 4096, false}, {status_byte(), 1, true}}));
    }
    bench->kick(0);
    bench->set_status(0);
    const auto used = bench->queue(0).used_index();
    bench->settle();
    EXPECT_EQ(bench->queue(0).used_index(), used) << "nothing moves after the reset";
  }
}

TEST_P(BlockTest, AQueueResetDrainsIt) {
  ASSERT_NO_FATAL_FAILURE(start({}, {.queues = 2}));
  const auto from = bench->guest.place(pattern(512));
  ASSERT_TRUE(
      bench->queue(0).add({{header(abi::block_t_out, 1), 16, false}, {from, 512, false}, {status_byte(), 1, true}}));
  bench->kick(0);
  bench->reset_queue(0);
  const auto used = bench->queue(0).used_index();
  bench->settle();
  EXPECT_EQ(bench->queue(0).used_index(), used);
  bench->add_queue(0, 16);
  EXPECT_EQ(request(abi::block_t_out, 0, from, 512), abi::block_s_ok);
  EXPECT_EQ(request(abi::block_t_out, 0, from, 512, 1), abi::block_s_ok);
}

TEST_P(BlockTest, MarksThePagesItWrote) {
  ASSERT_NO_FATAL_FAILURE(make({}, {}, true));
  bench->start(1);
  const auto back = bench->guest.allocate(8192, 4096);
  const auto memory = bench->device_memory();
  auto* dirty = memory->find(back)->dirty();
  bench->settle();
  dirty->clear();
  EXPECT_EQ(request(abi::block_t_in, 0, back, 8192), abi::block_s_ok);
  EXPECT_TRUE(dirty->is_dirty(back.value / 4096));
  EXPECT_TRUE(dirty->is_dirty(back.value / 4096 + 1));
  EXPECT_TRUE(dirty->is_dirty(status_at.value / 4096));
}

TEST_P(BlockTest, ADiskThatShrankGivesAnErrorAndGoesOn) {
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_EQ(::truncate(file.path().c_str(), 4096), 0);
  const auto at = bench->guest.allocate(512);
  EXPECT_EQ(request(abi::block_t_in, 100, at, 512), abi::block_s_ioerr);
  EXPECT_TRUE(bench->logged("read disk"));
  EXPECT_EQ(request(abi::block_t_in, 0, at, 512), abi::block_s_ok);
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(BlockTest, ManyRequestsInAnyOrder) {
  ASSERT_NO_FATAL_FAILURE(start());
  auto& driver = bench->queue(0);
  auto& guest = bench->guest;
  constexpr unsigned slots = 20;
  std::vector<GuestAddress> data, statuses;
  std::vector<GuestAddress> heads;
  for (unsigned n = 0; n < slots; ++n) {
    heads.push_back(header(abi::block_t_in, n));
    data.push_back(guest.allocate(512));
    statuses.push_back(status_byte());
    const auto content = pattern(512, n);
    file.write(n * 512, std::as_bytes(std::span(content)));
  }
  unsigned done = 0;
  std::map<std::uint32_t, unsigned> slot_of;
  std::set<unsigned> idle;
  for (unsigned n = 0; n < slots; ++n) idle.insert(n);
  while (done < 2000) {
    while (!idle.empty() && driver.free() >= 3) {
      const unsigned slot = *idle.begin();
      idle.erase(idle.begin());
      slot_of[*driver.add({{heads[slot], 16, false}, {data[slot], 512, true}, {statuses[slot], 1, true}})] = slot;
    }
    if (driver.must_kick()) bench->kick(0);
    const auto used = bench->wait_used(0);
    ASSERT_TRUE(used) << done;
    const auto slot = slot_of.at(used->id);
    ASSERT_EQ(used->written, 513U);
    ASSERT_EQ(guest.text(data[slot], 512), pattern(512, slot));
    idle.insert(slot);
    ++done;
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, BlockTest,
                         ::testing::Combine(::testing::Values(DiskEngine::plain, DiskEngine::io_uring),
                                            ::testing::ValuesIn(all_homes)),
                         [](const auto& how) {
                           return std::string(std::get<0>(how.param) == DiskEngine::plain ? "Plain" : "Uring") +
                                  name(std::get<1>(how.param));
                         });

TEST(BlockCreate, NamesTheOptionOutOfBounds) {
  const auto create = [](virtio::BlockOptions options) {
    const TempFile file(4096);
    auto backend = virtio::create_backend(*virtio::RawDisk::open(file.path(), {}), DiskEngine::plain);
    const auto block = virtio::Block::create(std::move(*backend), std::move(options));
    return block ? std::string() : to_string(block.error());
  };
  EXPECT_EQ(create({}), "");
  EXPECT_NE(create({.queues = 0}).find("queues"), std::string::npos);
  EXPECT_NE(create({.queue_size = 100}).find("queue_size"), std::string::npos);
  EXPECT_FALSE(virtio::Block::create(nullptr));
}

}  // namespace
}  // namespace trivet::test
