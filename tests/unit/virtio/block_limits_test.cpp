// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <trivet/test/homes.hpp>
#include <trivet/virtio/abi/block.hpp>
#include <trivet/virtio/block.hpp>

namespace trivet::test {
namespace {

namespace abi = virtio::abi;
using namespace std::chrono_literals;
using virtio::DiskOperation;

constexpr std::uint64_t disk_size = 1 << 20;
constexpr std::uint32_t sectors = disk_size / 512;

/// What a disk was asked for.
struct Asked {
  DiskOperation::Kind kind;
  std::uint64_t offset;
  std::uint64_t bytes;
};

/// What the test knows of a disk that the device owns.
struct DiskRecord {
  std::atomic<unsigned> commits{0};
  std::mutex mutex;
  std::vector<Asked> asked;
  std::optional<virtio::DiskLifetime> lifetime;  // with the lock held
  std::atomic<int> fails_with{0};

  void wear(std::optional<virtio::DiskLifetime> now) {
    const std::lock_guard lock(mutex);
    lifetime = now;
  }

  std::vector<Asked> take_asked() {
    const std::lock_guard lock(mutex);
    return std::exchange(asked, {});
  }
};

/// A disk that does nothing, at once.
class FakeDisk final : public virtio::BlockBackend {
 public:
  FakeDisk(std::shared_ptr<DiskRecord> record, virtio::DiskInfo info) : record_(std::move(record)), info_(info) {
    info_.size = disk_size;
  }
  [[nodiscard]] const virtio::DiskInfo& info() const noexcept override { return info_; }
  [[nodiscard]] std::optional<virtio::DiskLifetime> lifetime() noexcept override {
    const std::lock_guard lock(record_->mutex);
    return record_->lifetime;
  }
  Result<void> start(boost::asio::any_io_executor, virtio::DiskClient&) override { return {}; }
  std::optional<int> submit(DiskOperation& operation) noexcept override {
    const std::lock_guard lock(record_->mutex);
    std::uint64_t bytes = operation.bytes;
    for (const auto& part : operation.data) bytes += part.iov_len;
    record_->asked.push_back({operation.kind, operation.offset, bytes});
    return record_->fails_with.load();
  }
  void commit() noexcept override { ++record_->commits; }
  void drain() noexcept override {}
  void stop() noexcept override {}

 private:
  std::shared_ptr<DiskRecord> record_;
  virtio::DiskInfo info_;
};

struct BlockLimits : ::testing::TestWithParam<Home> {
  void start(const virtio::DiskInfo& info = {}, const virtio::BlockOptions& options = {}) {
    auto made = virtio::Block::create(std::make_unique<FakeDisk>(disk, info), options);
    ASSERT_TRUE(made) << to_string(made.error());
    bench = make_bench(GetParam(), std::move(*made));
    bench->start(options.queues, 64);
    disk->take_asked();
  }
  void add(std::uint32_t type, std::uint64_t sector, GuestAddress data = {}, std::uint32_t length = 0,
           unsigned queue = 0) {
    abi::BlockRequestHeader head{};
    head.type = type;
    head.sector = sector;
    std::vector<Driver::Buffer> buffers{{bench->guest.place(std::as_bytes(std::span(&head, 1))), 16, false}};
    const bool reads = type == abi::block_t_in || type == abi::block_t_get_id || type == abi::block_t_get_lifetime;
    if (length != 0) buffers.push_back({data, length, reads});
    status_at = bench->guest.place(std::string_view("\xee", 1));
    buffers.push_back({status_at, 1, true});
    ASSERT_TRUE(bench->queue(queue).add(buffers));
    if (bench->queue(queue).must_kick()) bench->kick(queue);
  }
  std::uint8_t request(std::uint32_t type, std::uint64_t sector = 0, GuestAddress data = {}, std::uint32_t length = 0) {
    add(type, sector, data, length);
    const auto used = bench->wait_used(0);
    written = used ? used->written : 0xffffffff;
    return static_cast<std::uint8_t>(bench->guest.text(status_at, 1)[0]);
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

  std::shared_ptr<DiskRecord> disk = std::make_shared<DiskRecord>();
  std::unique_ptr<DeviceBench> bench;
  GuestAddress status_at{};
  std::uint32_t written = 0;
};

TEST_P(BlockLimits, HoldsToItsOperations) {
  ASSERT_NO_FATAL_FAILURE(start({}, {.limits = {.operations = {.per_second = 200, .burst = 2}}}));
  const auto begin = std::chrono::steady_clock::now();
  for (unsigned i = 0; i < 12; ++i) add(i % 2 == 0 ? abi::block_t_flush : 999, 0);
  for (unsigned i = 0; i < 12; ++i) ASSERT_TRUE(bench->wait_used(0)) << i;
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 45ms) << "a flush is one, and so is what is refused";
}

TEST_P(BlockLimits, HoldsToItsBytes) {
  ASSERT_NO_FATAL_FAILURE(start({}, {.limits = {.bytes = {.per_second = 100000, .burst = 100}}}));
  const auto at = bench->guest.allocate(1024);
  const auto begin = std::chrono::steady_clock::now();
  for (unsigned i = 0; i < 100; ++i) ASSERT_EQ(request(abi::block_t_flush), abi::block_s_ok) << "moves none";
  ASSERT_EQ(ranges(abi::block_t_write_zeroes, {{0, 2, 0}, {8, 2, 0}}), abi::block_s_ok);  // 2048
  ASSERT_EQ(request(abi::block_t_out, 0, at, 1024), abi::block_s_ok);
  ASSERT_EQ(request(abi::block_t_in, 0, at, 1024), abi::block_s_ok);
  ASSERT_EQ(request(abi::block_t_in, 0, at, 512), abi::block_s_ok);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 39ms) << "of 4096 bytes all but the last 512 were waited for";
}

TEST_P(BlockLimits, ALimitedQueueIsIdle) {
  ASSERT_NO_FATAL_FAILURE(start({}, {.limits = {.operations = {.per_second = 1, .burst = 1}}}));
  for (int i = 0; i < 3; ++i) add(abi::block_t_flush, 0);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(bench->wait_used(0));  // the burst, and one in debt
  EXPECT_FALSE(bench->wait_used(0, 20ms));
  bench->settle();
  const auto before = disk->commits.load();
  EXPECT_FALSE(bench->wait_used(0, 50ms));
  EXPECT_LE(disk->commits.load(), before + 1) << "it does not look again before its time";
}

TEST_P(BlockLimits, AResetWhileLimited) {
  ASSERT_NO_FATAL_FAILURE(start({}, {.limits = {.operations = {.per_second = 20, .burst = 1}}}));
  for (int i = 0; i < 3; ++i) add(abi::block_t_flush, 0);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(bench->wait_used(0));  // the burst, and one in debt
  bench->set_status(0);
  const auto used = bench->queue(0).used_index();
  EXPECT_FALSE(bench->line.wait_beyond(bench->line.count(), 70ms)) << "what waited went with the reset";
  EXPECT_EQ(bench->queue(0).used_index(), used);
  bench->start(1);
  EXPECT_EQ(request(abi::block_t_flush), abi::block_s_ok);
  EXPECT_EQ(request(abi::block_t_flush), abi::block_s_ok) << "and the limit still wakes";
}

TEST_P(BlockLimits, AQueueResetWhileLimited) {
  ASSERT_NO_FATAL_FAILURE(start({}, {.queues = 2, .limits = {.operations = {.per_second = 20, .burst = 1}}}));
  for (int i = 0; i < 3; ++i) add(abi::block_t_flush, 0);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(bench->wait_used(0));  // the burst, and one in debt
  bench->reset_queue(0);
  const auto used = bench->queue(0).used_index();
  add(abi::block_t_flush, 0, {}, 0, 1);
  EXPECT_TRUE(bench->wait_used(1)) << "another queue waits for the same limit, and is woken";
  EXPECT_EQ(bench->queue(0).used_index(), used);
  bench->add_queue(0, 16);
  EXPECT_EQ(request(abi::block_t_flush), abi::block_s_ok);
}

TEST_P(BlockLimits, NoQueueTakesItAll) {
  ASSERT_NO_FATAL_FAILURE(start({}, {.queues = 3, .limits = {.operations = {.per_second = 1000, .burst = 1}}}));
  for (unsigned queue = 0; queue < 3; ++queue) {
    for (unsigned i = 0; i < 30; ++i) add(abi::block_t_flush, 0, {}, 0, queue);
  }
  for (std::size_t asked = 0; asked < 45; asked += disk->take_asked().size()) std::this_thread::sleep_for(1ms);
  for (unsigned queue = 0; queue < 3; ++queue) EXPECT_GE(bench->queue(queue).used_index(), 3) << queue;
}

TEST_P(BlockLimits, ErasesSecurely) {
  ASSERT_NO_FATAL_FAILURE(start({.can_secure_erase = true, .logical_block = 4096, .physical_block = 4096}));
  EXPECT_NE(bench->offered() & abi::block_f_secure_erase, 0U);
  EXPECT_GT(bench->config<std::uint32_t>(60), 0U);
  EXPECT_EQ(bench->config<std::uint32_t>(64), 16U);
  EXPECT_EQ(bench->config<std::uint32_t>(68), 8U);
  EXPECT_EQ(ranges(abi::block_t_secure_erase, {{8, 16, 0}, {64, 8, 0}}), abi::block_s_ok);
  const auto asked = disk->take_asked();
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_EQ(asked[0].kind, DiskOperation::Kind::secure_erase);
  EXPECT_EQ(asked[0].offset, 4096U);
  EXPECT_EQ(asked[0].bytes, 8192U);
  EXPECT_EQ(asked[1].offset, 32768U);

  EXPECT_EQ(ranges(abi::block_t_secure_erase, {{0, 8, 1}}), abi::block_s_unsupp) << "unmap means nothing here";
  EXPECT_EQ(ranges(abi::block_t_secure_erase, {{sectors - 4, 8, 0}}), abi::block_s_ioerr);
  EXPECT_EQ(ranges(abi::block_t_secure_erase, {{~0ULL, 8, 0}}), abi::block_s_ioerr);
  EXPECT_EQ(ranges(abi::block_t_secure_erase, std::vector(17, std::array<std::uint64_t, 3>{0, 8, 0})),
            abi::block_s_ioerr);
  EXPECT_EQ(request(abi::block_t_secure_erase), abi::block_s_ioerr) << "no range";
  EXPECT_TRUE(disk->take_asked().empty()) << "what was refused changed nothing";
  EXPECT_EQ(ranges(abi::block_t_discard, {{0, 8, 0}}), abi::block_s_unsupp) << "the disk has the other only";

  disk->fails_with = EIO;
  EXPECT_EQ(ranges(abi::block_t_secure_erase, {{0, 8, 0}}), abi::block_s_ioerr);
}

TEST_P(BlockLimits, WithoutTheAbilityNothingIsErased) {
  ASSERT_NO_FATAL_FAILURE(start({.can_discard = true}));
  EXPECT_EQ(bench->offered() & (abi::block_f_secure_erase | abi::block_f_lifetime), 0U);
  EXPECT_EQ(ranges(abi::block_t_secure_erase, {{0, 8, 0}}), abi::block_s_unsupp);
  ASSERT_NO_FATAL_FAILURE(start({.read_only = true}));
  EXPECT_EQ(ranges(abi::block_t_secure_erase, {{0, 8, 0}}), abi::block_s_ioerr);
  EXPECT_TRUE(disk->take_asked().empty());
  const auto at = bench->guest.place(std::string(6, 'x'));
  EXPECT_EQ(request(abi::block_t_get_lifetime, 0, at, 6), abi::block_s_unsupp);
  EXPECT_EQ(bench->guest.text(at, 6), std::string(6, 'x'));
}

TEST_P(BlockLimits, TellsItsLifetime) {
  disk->wear(virtio::DiskLifetime{.pre_eol_info = 1, .worn_a = 3, .worn_b = 0x0b});
  ASSERT_NO_FATAL_FAILURE(start({.tells_lifetime = true}));
  EXPECT_NE(bench->offered() & abi::block_f_lifetime, 0U);
  const auto at = bench->guest.place(std::string(512, 'x'));
  EXPECT_EQ(request(abi::block_t_get_lifetime, 0, at, 6), abi::block_s_ok);
  EXPECT_EQ(written, 7U);
  EXPECT_EQ(bench->guest.text(at, 7), std::string("\1\0\3\0\x0b\0x", 7));
  EXPECT_EQ(request(abi::block_t_get_lifetime, 0, at, 512), abi::block_s_ok);
  EXPECT_EQ(written, 6U);
  EXPECT_EQ(bench->guest.text(at, 512).substr(6), std::string(506, 'x'));

  disk->wear(std::nullopt);
  EXPECT_EQ(request(abi::block_t_get_lifetime, 0, at, 6), abi::block_s_ioerr) << "it cannot tell now";
}

INSTANTIATE_TEST_SUITE_P(Homes, BlockLimits, ::testing::ValuesIn(all_homes),
                         [](const auto& home) { return std::string(name(home.param)); });

TEST(BlockCreate, NamesTheRateOutOfBounds) {
  const auto made =
      virtio::Block::create(std::make_unique<FakeDisk>(std::make_shared<DiskRecord>(), virtio::DiskInfo{}),
                            {.limits = {.bytes = {.per_second = ~0ULL}}});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code(), Errc::out_of_range);
  EXPECT_NE(to_string(made.error()).find("bytes"), std::string::npos);
}

}  // namespace
}  // namespace trivet::test
