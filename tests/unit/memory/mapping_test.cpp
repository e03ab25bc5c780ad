// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#include <trivet/memory/mapping.hpp>
#include <trivet/test/temp_file.hpp>

namespace trivet::memory {
namespace {

constexpr std::uint64_t page = 4096;

std::string text_at(const std::byte* at, std::size_t size) {
  std::string text(size, '\0');
  std::memcpy(text.data(), at, size);
  return text;
}

void put(std::byte* at, std::string_view text) {
  std::memcpy(at, text.data(), text.size());
}

TEST(Mapping, AnonymousMemoryIsZeroAndWritable) {
  auto mapping = Mapping::anonymous(2 * page);
  ASSERT_TRUE(mapping) << to_string(mapping.error());
  EXPECT_EQ(mapping->size(), 2 * page);
  EXPECT_EQ(mapping->fd(), -1);
  EXPECT_EQ(mapping->data()[2 * page - 1], std::byte{0});
  mapping->data()[2 * page - 1] = std::byte{7};
}

TEST(Mapping, RefusesSizesThatAreNoPages) {
  for (const std::uint64_t size : {std::uint64_t{0}, page - 1, page + 1, ~std::uint64_t{0} - page + 1}) {
    const auto anonymous = Mapping::anonymous(size);
    ASSERT_FALSE(anonymous) << size;
    EXPECT_EQ(anonymous.error().code(), Errc::invalid_argument);
    EXPECT_EQ(anonymous.error().blame(), Blame::caller);
    EXPECT_FALSE(Mapping::memfd("x", size));
  }
}

TEST(Mapping, MoreThanTheAddressSpaceIsTheHostsError) {
  const auto mapping = Mapping::anonymous(std::uint64_t{1} << 62);
  ASSERT_FALSE(mapping);
  EXPECT_EQ(mapping.error().code(), Errc::no_memory);
  EXPECT_EQ(mapping.error().blame(), Blame::host);
}

TEST(Mapping, MemfdIsSharedThroughItsDescriptor) {
  auto mapping = Mapping::memfd("guest", page);
  ASSERT_TRUE(mapping);
  put(mapping->data(), "hello");
  char text[5];
  ASSERT_EQ(::pread(mapping->fd(), text, sizeof text, 0), 5);
  EXPECT_EQ(std::string(text, 5), "hello");
}

TEST(Mapping, HugePagesAreOfTwoSizes) {
  const auto wrong = Mapping::memfd("huge", std::uint64_t{4} << 20, std::uint64_t{1} << 20);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code(), Errc::invalid_argument);
  const auto ragged = Mapping::memfd("huge", page, std::uint64_t{2} << 20);
  ASSERT_FALSE(ragged);
  EXPECT_EQ(ragged.error().code(), Errc::invalid_argument);
  // Whether any are reserved is the host's affair; without, the error says what to do.
  const auto mapping = Mapping::memfd("huge", std::uint64_t{2} << 20, std::uint64_t{2} << 20);
  if (mapping) {
    mapping->data()[0] = std::byte{1};
  } else {
    EXPECT_EQ(mapping.error().blame(), Blame::host);
    EXPECT_THAT(std::string(mapping.error().detail()), testing::HasSubstr("nr_hugepages"));
  }
}

TEST(Mapping, FileIsSharedAndTheDescriptorDuplicated) {
  const test::TempFile file(3 * page);
  file.write(page, std::as_bytes(std::span("first", 5)));
  int fd = ::dup(file.fd());
  auto mapping = Mapping::file(fd, page, 2 * page);
  ::close(fd);
  ASSERT_TRUE(mapping) << to_string(mapping.error());
  EXPECT_EQ(mapping->fd_offset(), page);
  EXPECT_GE(::fcntl(mapping->fd(), F_GETFD), 0);
  EXPECT_EQ(text_at(mapping->data(), 5), "first");
  put(mapping->data() + page, "second");
  EXPECT_EQ(file.read(2 * page, 6), "second");
}

TEST(Mapping, FileThatIsTooShortIsRefusedBeforeItCanKill) {
  const test::TempFile file(page + 10);
  const auto beyond = Mapping::file(file.fd(), 0, 3 * page);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code(), Errc::out_of_range);
  EXPECT_TRUE(Mapping::file(file.fd(), 0, 2 * page)) << "the last page may be part of one";
  EXPECT_FALSE(Mapping::file(file.fd(), 1, page));
  EXPECT_FALSE(Mapping::file(file.fd(), ~std::uint64_t{0} & ~(page - 1), page));
}

TEST(Mapping, ReadOnlyFileNeedsNoWritableDescriptor) {
  const test::TempFile file(page);
  file.write(0, std::as_bytes(std::span("rom", 3)));
  const UniqueFd read_only(::open(file.path().c_str(), O_RDONLY | O_CLOEXEC));
  const auto writable = Mapping::file(read_only.value(), 0, page, true);
  ASSERT_FALSE(writable);
  EXPECT_EQ(writable.error().code(), Errc::permission);
  const auto mapping = Mapping::file(read_only.value(), 0, page, false);
  ASSERT_TRUE(mapping);
  EXPECT_EQ(text_at(mapping->data(), 3), "rom");
}

TEST(Mapping, BadDescriptorIsTheHostsError) {
  const auto mapping = Mapping::file(-1, 0, page);
  ASSERT_FALSE(mapping);
  EXPECT_EQ(mapping.error().blame(), Blame::host);
}

TEST(Mapping, MovesAndUnmapsOnce) {
  auto first = *Mapping::anonymous(page);
  std::byte* const at = first.data();
  Mapping second = std::move(first);
  EXPECT_EQ(second.data(), at);
  auto third = *Mapping::anonymous(2 * page);
  third = std::move(second);
  EXPECT_EQ(third.data(), at);
  EXPECT_EQ(third.size(), page);
  unsigned char present = 0;
  { const Mapping last = std::move(third); }
  EXPECT_EQ(::mincore(at, page, &present), -1) << "unmapped";
}

TEST(Mapping, SaysWhetherTheHostGivesHugePages) {
  std::string policy;
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::getline(file, policy);
  const bool always = policy.find("[always]") != std::string::npos;
  EXPECT_EQ(Mapping::anonymous(1024 * page)->in_huge_pages(), always);
  EXPECT_FALSE(Mapping::anonymous(page)->in_huge_pages()) << "no huge page fits";
  EXPECT_FALSE(Mapping::memfd("small pages", 1024 * page)->in_huge_pages());
}

TEST(Mapping, OverlayShowsTheFileAndKeepsItUnchanged) {
  const test::TempFile file(2 * page);
  file.write(0, std::as_bytes(std::span("kernel", 6)));
  auto mapping = *Mapping::anonymous(4 * page);
  put(mapping.data(), "below");
  ASSERT_TRUE(mapping.overlay(page, file.fd(), 0, 2 * page));
  EXPECT_EQ(text_at(mapping.data() + page, 6), "kernel");
  EXPECT_EQ(text_at(mapping.data(), 5), "below");
  put(mapping.data() + page, "KERNEL");
  EXPECT_EQ(file.read(0, 6), "kernel");
}

TEST(Mapping, OverlayRefusesWhatDoesNotFit) {
  const test::TempFile file(2 * page);
  auto mapping = *Mapping::anonymous(2 * page);
  const auto code = [&](std::uint64_t offset, std::uint64_t file_offset, std::uint64_t size) {
    const auto result = mapping.overlay(offset, file.fd(), file_offset, size);
    return result ? std::string("done") : std::string(to_string(result.error().code()));
  };
  EXPECT_EQ(code(1, 0, page), "invalid argument");
  EXPECT_EQ(code(0, 1, page), "invalid argument");
  EXPECT_EQ(code(0, 0, 1), "invalid argument");
  EXPECT_EQ(code(page, 0, 2 * page), "out of range");
  EXPECT_EQ(code(3 * page, 0, page), "out of range");
  EXPECT_EQ(code(0, page, 2 * page), "out of range") << "beyond the file";
  EXPECT_EQ(mapping.overlay(0, -1, 0, page).error().blame(), Blame::host);
  EXPECT_EQ(code(0, 0, 2 * page), "done");
}

}  // namespace
}  // namespace trivet::memory
