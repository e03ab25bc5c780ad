// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <trivet/vmm/loader/image.hpp>
#include <trivet/vmm/loader/kernel_image.hpp>

#include "loader_support.hpp"

namespace trivet::vmm {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t page = layout::page_size;

/// Whether the page at this host address is backed by `name`, as this process's own map says.
bool is_mapped_from(const std::byte* host, const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(host);  // SAFETY: only compared as a number
  for (std::string line; std::getline(maps, line);) {
    std::size_t dash = 0;
    const auto first = std::stoull(line, &dash, 16);
    const auto last = std::stoull(line.substr(dash + 1), nullptr, 16);
    if (wanted >= first && wanted < last) return line.ends_with(name);
  }
  return false;
}

TEST(Image, OpenErrorsNameTheFile) {
  const testing::TemporaryFolder folder;
  const auto missing = Image::open(folder.path("missing"));
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code(), Errc::not_found);
  EXPECT_THAT(to_string(missing.error()), HasSubstr(folder.path("missing")));
  EXPECT_THAT(to_string(Image::open(folder.path(".")).error()), HasSubstr("folder"));
  EXPECT_THAT(to_string(Image::open(folder.write("empty", {})).error()), HasSubstr("empty"));
  EXPECT_FALSE(Image::open("").has_value());
  ASSERT_EQ(::mkfifo(folder.path("fifo").c_str(), 0600), 0);
  EXPECT_THAT(to_string(Image::open(folder.path("fifo")).error()), HasSubstr("not a regular file"));
}

TEST(Image, PlacesAnyAlignmentByteForByte) {
  const testing::TemporaryFolder folder;
  const auto bytes = testing::pattern(40 * page + 123);
  const auto image = Image::open(folder.write("image", bytes));
  ASSERT_TRUE(image.has_value());
  for (const std::uint64_t offset : {std::uint64_t{0}, page, std::uint64_t{17}, page - 1}) {
    for (const std::uint64_t at : {8 * page, 8 * page + 17, 9 * page - 1}) {
      const auto memory = testing::make_memory(64 * page);
      const auto size = bytes.size() - offset;
      ASSERT_TRUE(image->place(*memory, {at}, offset, size).has_value());
      testing::Contents there(size + 2);
      ASSERT_TRUE(memory->read({at - 1}, there).has_value());
      EXPECT_TRUE(std::equal(there.begin() + 1, there.end() - 1, bytes.begin() + static_cast<std::ptrdiff_t>(offset)));
      EXPECT_EQ(there.front(), std::byte{0});
      EXPECT_EQ(there.back(), std::byte{0});
    }
  }
}

TEST(Image, MapsWholePagesPrivatelyAndLeavesTheFileAlone) {
  const testing::TemporaryFolder folder;
  const auto bytes = testing::pattern(32 * page);
  const auto path = folder.write("image", bytes);
  const auto image = Image::open(path);
  const auto memory = testing::make_memory(64 * page);
  ASSERT_TRUE(image->place(*memory, {page}, 0, bytes.size()).has_value());
  EXPECT_TRUE(is_mapped_from(memory->find({page})->host() + page, path));
  ASSERT_TRUE(memory->fill({{page}, 32 * page}, std::byte{0}).has_value());
  testing::Contents there(bytes.size());
  ASSERT_TRUE(image->read(0, there).has_value());
  EXPECT_EQ(there, bytes);
}

TEST(Image, CopiesWhereMemoryComesInHugePages) {
  const testing::TemporaryFolder folder;
  const auto path = folder.write("image", testing::pattern(32 * page));
  const auto memory = testing::make_memory(1024 * page);
  ASSERT_TRUE(Image::open(path)->place(*memory, {page}, 0, 32 * page).has_value());
  const auto* region = memory->find({page});
  EXPECT_EQ(is_mapped_from(region->host() + page, path), !region->mapping()->in_huge_pages());
}

TEST(Image, CopiesAFileThatOthersMayShrink) {
  const testing::TemporaryFolder folder;
  const auto bytes = testing::pattern(32 * page);
  const auto path = folder.write("image", bytes);
  ASSERT_EQ(::chmod(path.c_str(), 0666), 0);
  const auto image = Image::open(path);
  const auto memory = testing::make_memory(64 * page);
  ASSERT_TRUE(image->place(*memory, {page}, 0, bytes.size()).has_value());
  EXPECT_FALSE(is_mapped_from(memory->find({page})->host() + page, path));
  testing::Contents there(bytes.size());
  ASSERT_TRUE(memory->read({page}, there).has_value());
  EXPECT_EQ(there, bytes);
}

TEST(Image, CopiesIntoMemoryThatOtherProcessesShare) {
  const testing::TemporaryFolder folder;
  const auto bytes = testing::pattern(32 * page);
  const auto path = folder.write("image", bytes);
  auto mapping = memory::Mapping::memfd("shared", 64 * page);
  ASSERT_TRUE(mapping.has_value());
  const auto fd = mapping->fd();
  auto region = memory::Region::create({0}, std::move(*mapping));
  const auto memory = *memory::GuestMemory::create({*region});
  ASSERT_TRUE(Image::open(path)->place(*memory, {page}, 0, bytes.size()).has_value());
  testing::Contents there(bytes.size());
  ASSERT_EQ(::pread(fd, there.data(), there.size(), page), static_cast<ssize_t>(there.size()));
  EXPECT_EQ(there, bytes);
}

TEST(Image, MarksWhatItPlacesAsDirty) {
  const testing::TemporaryFolder folder;
  const auto bytes = testing::pattern(32 * page);
  auto mapping = memory::Mapping::anonymous(64 * page);
  memory::Region::Options options;
  options.track_dirty = true;
  const auto region = *memory::Region::create({0}, std::move(*mapping), options);
  const auto memory = *memory::GuestMemory::create({region});
  ASSERT_TRUE(Image::open(folder.write("image", bytes))->place(*memory, {page}, 0, bytes.size()).has_value());
  EXPECT_EQ(region->dirty()->take()[0], 0x1'ffff'fffeULL);
}

TEST(Image, CrossesRegions) {
  const testing::TemporaryFolder folder;
  const auto bytes = testing::pattern(32 * page);
  const auto memory = testing::make_memory(std::vector<GuestRange>{{{0}, 16 * page}, {{16 * page}, 48 * page}});
  ASSERT_TRUE(Image::open(folder.write("image", bytes))->place(*memory, {page}, 0, bytes.size()).has_value());
  testing::Contents there(bytes.size());
  ASSERT_TRUE(memory->read({page}, there).has_value());
  EXPECT_EQ(there, bytes);
}

TEST(Image, RefusesPlacesWithoutMemory) {
  const auto bytes = testing::pattern(2 * page);
  const auto image = Image::from_memory(bytes, "bytes");
  const auto memory = testing::make_memory(4 * page);
  for (const auto at : {3 * page, 100 * page, ~std::uint64_t{0} - 5}) {
    EXPECT_EQ(image.place(*memory, {at}, 0, 2 * page).error().code(), Errc::out_of_range);
  }
  EXPECT_EQ(image.place(*memory, {0}, 1, 2 * page).error().code(), Errc::malformed);
  EXPECT_EQ(image.place(*memory, {0}, ~std::uint64_t{0}, 2).error().code(), Errc::malformed);
  EXPECT_TRUE(image.place(*memory, {0}, 2 * page, 0).has_value());
}

TEST(Image, AFileThatShrankIsAnError) {
  const testing::TemporaryFolder folder;
  for (const auto size : {2 * page, 32 * page}) {  // copied, mapped
    const auto path = folder.write("image", testing::pattern(size));
    const auto image = Image::open(path);
    ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(page / 2)), 0);
    const auto memory = testing::make_memory(64 * page);
    EXPECT_FALSE(image->place(*memory, {0}, 0, size).has_value());
    testing::Contents there(size);
    EXPECT_EQ(image->read(0, there).error().code(), Errc::malformed);
  }
}

void expect_kernel_refused(std::string_view start, const std::string& why, std::size_t at = 0) {
  auto bytes = testing::Contents(4096);
  std::memcpy(bytes.data() + at, start.data(), start.size());
  const auto kernel = KernelImage::from_memory(bytes, "some/file");
  ASSERT_FALSE(kernel.has_value()) << why;
  EXPECT_EQ(kernel.error().code(), Errc::malformed);
  EXPECT_THAT(to_string(kernel.error()), ::testing::AllOf(HasSubstr("some/file"), HasSubstr(why)));
}

TEST(KernelImage, SaysWhatAFileIsInstead) {
  using namespace std::string_view_literals;
  expect_kernel_refused("\x1f\x8b\x08"sv, "gunzip");
  expect_kernel_refused(
      "\xfd"
      "7zXZ\0"sv,
      "unxz");
  expect_kernel_refused("\x28\xb5\x2f\xfd"sv, "unzstd");
  expect_kernel_refused("BZh9"sv, "bunzip2");
  expect_kernel_refused("070701"sv, "initrd=");
  expect_kernel_refused("MZ"sv, "EFI");
  expect_kernel_refused("ARM\x64"sv, "arm64", 0x38);
  expect_kernel_refused("RSC\x05"sv, "RISC-V", 0x38);
  expect_kernel_refused("hello"sv, "neither an ELF nor a bzImage");
}

TEST(KernelImage, TinyFilesAreRefused) {
  for (std::size_t size = 1; size < 0x210; ++size) {
    const auto bytes = testing::pattern(size, 0x41);
    EXPECT_FALSE(KernelImage::from_memory(bytes, "tiny").has_value());
  }
}

}  // namespace
}  // namespace trivet::vmm
