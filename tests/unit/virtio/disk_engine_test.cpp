// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <memory>
#include <string>
#include <sys/vfs.h>
#include <vector>

#include <boost/asio/io_context.hpp>

#include <trivet/test/temp_file.hpp>
#include <trivet/virtio/raw_disk.hpp>

namespace trivet::virtio {
namespace {

using Kind = DiskOperation::Kind;

constexpr std::size_t block = 4096;

struct Request : DiskOperation {
  explicit Request(std::uint64_t where) {
    offset = where;
    data = vector;
  }
  std::vector<std::byte> bytes = std::vector<std::byte>(block);
  std::array<iovec, 1> vector{iovec{bytes.data(), bytes.size()}};
  unsigned times_told = 0;
  int os_errno = -1;
};

struct UringTest : ::testing::Test, DiskClient {
  void SetUp() override {
    auto disk = RawDisk::open(file.path(), {});
    ASSERT_TRUE(disk) << to_string(disk.error());
    auto made = create_backend(std::move(*disk), DiskEngine::io_uring);
    if (!made) GTEST_SKIP() << to_string(made.error());
    backend = std::move(*made);
    ASSERT_TRUE(backend->start(loop.get_executor(), *this));
  }
  void TearDown() override {
    if (!backend) return;
    backend->drain();
    backend->stop();
    loop.poll();
  }

  void completed(DiskOperation& operation, int os_errno) noexcept override {
    auto& request = static_cast<Request&>(operation);
    ++request.times_told;
    request.os_errno = os_errno;
    ++told;
  }
  void batch_completed() noexcept override {
    ++batches;
    told_in_batches = told;
  }

  test::TempFile file{64 * block};
  boost::asio::io_context loop{1};
  std::unique_ptr<BlockBackend> backend;
  unsigned told = 0;
  unsigned told_in_batches = 0;
  unsigned batches = 0;
};

// More than the rings hold, some done at once and some later.
TEST_F(UringTest, EachOperationIsToldOfOnceAndEndsABatch) {
  std::vector<std::unique_ptr<Request>> requests;
  for (unsigned i = 0; i < 600; ++i) {
    requests.push_back(std::make_unique<Request>(i % 64 * block));
    auto& request = *requests.back();
    request.kind = i % 3 == 0 ? Kind::write : i % 7 == 0 ? Kind::flush : Kind::read;
    if (const auto at_once = backend->submit(request)) completed(request, *at_once);
    if (i % 50 == 49) backend->commit();
  }
  backend->commit();
  while (told < requests.size()) ASSERT_GT(loop.run_one(), 0U);
  EXPECT_EQ(told_in_batches, told);
  for (const auto& request : requests) {
    EXPECT_EQ(request->times_told, 1U);
    EXPECT_EQ(request->os_errno, 0);
  }
  EXPECT_EQ(loop.poll(), 0U) << "nothing is left to wake for";
}

TEST_F(UringTest, WhatTheKernelHasInMemoryIsToldOfByCommitAndWakesNobody) {
  struct statfs system {};
  ASSERT_EQ(::statfs(file.path().c_str(), &system), 0);
  if (system.f_type != EXT4_SUPER_MAGIC) GTEST_SKIP() << "known of ext4 only: the kernel reads its page cache at once";
  const std::string content(block, 'x');
  file.write(3 * block, std::as_bytes(std::span(content)));

  Request request(3 * block);
  ASSERT_FALSE(backend->submit(request).has_value());
  EXPECT_EQ(request.times_told, 0U) << "before commit";
  backend->commit();
  EXPECT_EQ(request.times_told, 1U);
  EXPECT_EQ(request.os_errno, 0);
  EXPECT_EQ(batches, 1U);
  EXPECT_EQ(request.bytes.front(), std::byte{'x'});
  EXPECT_EQ(loop.poll(), 0U);

  backend->commit();
  EXPECT_EQ(batches, 1U) << "nothing was submitted";
}

// The kernel does a flush on a thread of its own.
TEST_F(UringTest, WhatTakesLongerWakesTheLoop) {
  Request request(0);
  request.kind = Kind::flush;
  ASSERT_FALSE(backend->submit(request).has_value());
  backend->commit();
  while (request.times_told == 0) ASSERT_GT(loop.run_one(), 0U);
  EXPECT_EQ(request.os_errno, 0);
  EXPECT_EQ(batches, 1U);
  // And again: the loop waits for more than the first.
  ASSERT_FALSE(backend->submit(request).has_value());
  backend->commit();
  while (request.times_told == 1) ASSERT_GT(loop.run_one(), 0U);
  EXPECT_EQ(batches, 2U);
}

}  // namespace
}  // namespace trivet::virtio
