// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <memory>
#include <sys/mman.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <trivet/core/unique_fd.hpp>
#include <trivet/memory/transfer.hpp>

namespace trivet::memory {
namespace {

constexpr std::uint64_t page = 4096;

/// Twenty pages that are regions of their own, so that a range has more runs than a system call is given.
class TransferTest : public ::testing::Test {
 protected:
  TransferTest() {
    GuestMemory::Regions regions;
    for (std::uint64_t i = 0; i < 20; ++i) {
      const auto access = i == 19 ? Access::read_only : Access::read_write;
      regions.push_back(*Region::create({i * page}, *Mapping::anonymous(page), {access, true}));
    }
    memory = *GuestMemory::create(std::move(regions));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 / 8);
    file = UniqueFd(::memfd_create("transfer", MFD_CLOEXEC));
    EXPECT_EQ(::write(file.value(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    EXPECT_EQ(::lseek(file.value(), 0, SEEK_SET), 0);
  }

  std::vector<std::byte> guest(std::uint64_t at, std::uint64_t size) const {
    std::vector<std::byte> got(size);
    EXPECT_TRUE(memory->read({at}, got));
    return got;
  }
  std::vector<std::byte> part(std::size_t from, std::size_t size) const {
    return {bytes.begin() + static_cast<std::ptrdiff_t>(from),
            bytes.begin() + static_cast<std::ptrdiff_t>(from + size)};
  }

  std::shared_ptr<const GuestMemory> memory;
  std::vector<std::byte> bytes = std::vector<std::byte>(19 * page);
  UniqueFd file;
};

TEST_F(TransferTest, AFileGoesInAndComesOutAcrossRegions) {
  ASSERT_EQ(*read_from(file.value(), *memory, {{100}, 18 * page}), 18 * page);
  EXPECT_EQ(guest(100, 18 * page), part(0, 18 * page));
  const UniqueFd out(::memfd_create("out", MFD_CLOEXEC));
  ASSERT_EQ(*write_to(out.value(), *memory, {{100}, 18 * page}), 18 * page);
  std::vector<std::byte> got(18 * page + 1);
  ASSERT_EQ(::pread(out.value(), got.data(), got.size(), 0), static_cast<ssize_t>(18 * page));
  got.pop_back();
  EXPECT_EQ(got, part(0, 18 * page));
}

TEST_F(TransferTest, APositionLeavesTheDescriptorWhereItStands) {
  ASSERT_EQ(*read_from(file.value(), *memory, {{0}, page}, 2 * page), page);
  EXPECT_EQ(guest(0, page), part(2 * page, page));
  ASSERT_EQ(*write_to(file.value(), *memory, {{0}, page}, page), page);
  EXPECT_EQ(::lseek(file.value(), 0, SEEK_CUR), 0);
  std::vector<std::byte> got(page);
  ASSERT_EQ(::pread(file.value(), got.data(), page, page), static_cast<ssize_t>(page));
  EXPECT_EQ(got, part(2 * page, page));
}

TEST_F(TransferTest, TheEndOfAFileEndsTheTransfer) {
  EXPECT_EQ(*read_from(file.value(), *memory, {{0}, 2 * page}, 18 * page + 100), page - 100);
  EXPECT_EQ(*read_from(file.value(), *memory, {{0}, page}, 19 * page), 0U);
}

TEST_F(TransferTest, MarksWhatItWroteAndNoMore) {
  ASSERT_EQ(*read_from(file.value(), *memory, {{2 * page}, 4 * page}, 17 * page + page / 2), page + page / 2);
  for (std::uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(memory->find({i * page})->dirty()->is_dirty(0), i == 2 || i == 3) << i;
  }
  ASSERT_TRUE(write_to(file.value(), *memory, {{8 * page}, page}, 0));
  EXPECT_FALSE(memory->find({8 * page})->dirty()->is_dirty(0));
}

TEST_F(TransferTest, APipeThatGivesLittleAtATimeFillsTheRange) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd out(ends[0]);
  std::thread writer([&, in = UniqueFd(ends[1])] {
    for (std::size_t done = 0; done < 3 * page; done += 1000) {
      const std::size_t piece = std::min<std::size_t>(1000, 3 * page - done);
      EXPECT_EQ(::write(in.value(), bytes.data() + done, piece), static_cast<ssize_t>(piece));
    }
  });
  EXPECT_EQ(*read_from(out.value(), *memory, {{page / 2}, 4 * page}), 3 * page) << "the stream ends before the range";
  writer.join();
  EXPECT_EQ(guest(page / 2, 3 * page), part(0, 3 * page));
}

TEST_F(TransferTest, ASocketThatWouldBlockSaysSoOnlyWhenNothingMoved) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  const auto nothing = read_from(ours.value(), *memory, {{0}, page});
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().os_errno(), EAGAIN);
  ASSERT_EQ(::send(theirs.value(), bytes.data(), 10, 0), 10);
  EXPECT_EQ(*read_from(ours.value(), *memory, {{0}, page}), 10U);
  EXPECT_EQ(guest(0, 10), part(0, 10));
}

TEST_F(TransferTest, ABadRangeMovesNothing) {
  struct Case {
    GuestRange range;
    Errc code;
  };
  for (const auto& bad :
       {Case{{{19 * page}, 2 * page}, Errc::permission}, Case{{{18 * page}, 3 * page}, Errc::permission},
        Case{{{20 * page}, 1}, Errc::out_of_range}, Case{{{~std::uint64_t{0}}, 2}, Errc::out_of_range}}) {
    const auto read = read_from(file.value(), *memory, bad.range);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code(), bad.code);
    EXPECT_EQ(read.error().blame(), Blame::guest);
  }
  EXPECT_EQ(::lseek(file.value(), 0, SEEK_CUR), 0);
  EXPECT_EQ(write_to(file.value(), *memory, {{19 * page}, page + 1}).error().code(), Errc::out_of_range);
  EXPECT_TRUE(write_to(file.value(), *memory, {{19 * page}, page}, 0)) << "read-only memory may be read";
  EXPECT_EQ(*read_from(file.value(), *memory, {{0}, 0}), 0U);
}

TEST_F(TransferTest, ABadDescriptorOrPlaceIsTheCallersError) {
  EXPECT_EQ(read_from(-1, *memory, {{0}, page}).error().os_errno(), EBADF);
  EXPECT_EQ(read_from(file.value(), *memory, {{0}, page}, ~std::uint64_t{0}).error().code(), Errc::invalid_argument);
}

}  // namespace
}  // namespace trivet::memory
