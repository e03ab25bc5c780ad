// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <trivet/test/temp_file.hpp>
#include <trivet/virtio/raw_disk.hpp>

#include "disk_lifetime.hpp"

namespace trivet::virtio {
namespace {

using test::TempFile;
using Kind = DiskOperation::Kind;

constexpr std::uint64_t mib = 1 << 20;

std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  return bytes;
}

ConstBytes bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(RawDisk, TellsItsSize) {
  const TempFile file(mib);
  const auto disk = RawDisk::open(file.path(), {});
  ASSERT_TRUE(disk) << to_string(disk.error());
  EXPECT_EQ(disk->info().size, mib);
  EXPECT_FALSE(disk->info().read_only);
  EXPECT_EQ(disk->info().logical_block, 512U);
  EXPECT_GE(disk->info().physical_block, 512U);
}

TEST(RawDisk, AFilePromisesNoSecureEraseAndNoLifetime) {
  const TempFile file(mib);
  auto disk = RawDisk::open(file.path(), {});
  ASSERT_TRUE(disk) << to_string(disk.error());
  EXPECT_FALSE(disk->info().can_secure_erase);
  EXPECT_FALSE(disk->info().tells_lifetime);
  EXPECT_FALSE(disk->lifetime());
  for (const auto engine : {DiskEngine::plain, DiskEngine::automatic}) {
    const TempFile other(mib);
    auto backend = create_backend(*RawDisk::open(other.path(), {}), engine);
    ASSERT_TRUE(backend);
    DiskOperation erase{.kind = Kind::secure_erase, .bytes = 4096};
    EXPECT_EQ((*backend)->submit(erase), EOPNOTSUPP);
    EXPECT_FALSE((*backend)->lifetime());
  }
}

TEST(DiskLifetimeFiles, ReadsTheAttributesOfAnEmmc) {
  std::string folder = ::testing::TempDir() + "trivet-emmc-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const auto write = [&](const char* name, const std::string& text) {
    const UniqueFd file(::open((folder + "/" + name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    ASSERT_EQ(::write(file.value(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  };
  EXPECT_FALSE(DiskLifetimeFiles(folder).valid());
  write("life_time", "0x02 0x0b\n");
  EXPECT_FALSE(DiskLifetimeFiles(folder).valid()) << "half of it";
  write("pre_eol_info", "0x01\n");
  const DiskLifetimeFiles files(folder);
  ASSERT_TRUE(files.valid());
  EXPECT_EQ(files.read(), (DiskLifetime{.pre_eol_info = 1, .worn_a = 2, .worn_b = 11}));
  write("life_time", "0x03 0x0b\n");
  EXPECT_EQ(files.read()->worn_a, 3) << "as it is now";
  for (const auto* nonsense : {"", "0x03", "0x03 ", "3 4", "0x03 0x", "0x03 0x10000", "-1 -1"}) {
    write("life_time", nonsense);
    EXPECT_FALSE(files.read()) << nonsense;
  }
  for (const auto* name : {"life_time", "pre_eol_info"}) ::unlink((folder + "/" + name).c_str());
  ::rmdir(folder.c_str());
}

TEST(RawDisk, NamesTheFileItCannotOpen) {
  const auto disk = RawDisk::open("/nowhere/disk.img", {});
  ASSERT_FALSE(disk);
  EXPECT_EQ(disk.error().code(), Errc::not_found);
  EXPECT_NE(to_string(disk.error()).find("/nowhere/disk.img"), std::string::npos);
}

TEST(RawDisk, RefusesASizeThatIsNotInSectors) {
  const TempFile file(mib + 511);
  const auto disk = RawDisk::open(file.path(), {});
  ASSERT_FALSE(disk);
  EXPECT_EQ(disk.error().code(), Errc::invalid_argument);
  EXPECT_NE(to_string(disk.error()).find("1049087 bytes, which is not a multiple of 512"), std::string::npos);
}

TEST(RawDisk, RefusesWhatIsNoDisk) {
  const TempFile empty;
  EXPECT_EQ(RawDisk::open(empty.path(), {}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(RawDisk::open("/tmp", {.read_only = true}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(RawDisk::open("/dev/null", {}).error().code(), Errc::invalid_argument);

  const std::string fifo = empty.path() + ".fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(RawDisk::open(fifo, {.read_only = true}).error().code(), Errc::invalid_argument) << "and does not wait";
  ::unlink(fifo.c_str());
}

// A guest that is given one would see its header for a partition table, and write over it.
TEST(RawDisk, RefusesImagesOfOtherFormatsUnlessToldThatTheyAreRaw) {
  struct Case {
    const char* format;
    off_t offset;
    std::string mark;
  };
  for (const auto& image : {Case{"qcow2", 0, "QFI\xfb"}, Case{"VHDX", 0, "vhdxfile"}, Case{"VMDK", 0, "KDMV"},
                            Case{"VDI", 0x40, "\x7f\x10\xda\xbe"}}) {
    const TempFile file(mib);
    ASSERT_TRUE(RawDisk::open(file.path(), {}));
    const int fd = ::open(file.path().c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_EQ(::pwrite(fd, image.mark.data(), image.mark.size(), image.offset),
              static_cast<ssize_t>(image.mark.size()));
    ::close(fd);
    const auto disk = RawDisk::open(file.path(), {});
    ASSERT_FALSE(disk) << image.format;
    EXPECT_EQ(disk.error().code(), Errc::unsupported);
    EXPECT_EQ(disk.error().blame(), Blame::caller);
    const auto said = to_string(disk.error());
    for (const std::string& part : {file.path(), std::string(image.format), std::string("qemu-img convert -O raw")}) {
      EXPECT_NE(said.find(part), std::string::npos) << said;
    }
    EXPECT_TRUE(RawDisk::open(file.path(), {.raw = true})) << image.format;
  }
}

TEST(RawDisk, HasOneWriterOrManyReaders) {
  const TempFile file(mib);
  {
    const auto writer = RawDisk::open(file.path(), {});
    ASSERT_TRUE(writer);
    const auto second = RawDisk::open(file.path(), {});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), Errc::bad_state);
    EXPECT_NE(to_string(second.error()).find(file.path()), std::string::npos);
    EXPECT_FALSE(RawDisk::open(file.path(), {.read_only = true}));
  }
  const auto reader = RawDisk::open(file.path(), {.read_only = true});
  ASSERT_TRUE(reader);
  EXPECT_TRUE(RawDisk::open(file.path(), {.read_only = true}));
  EXPECT_FALSE(RawDisk::open(file.path(), {}));
}

struct Transfers : ::testing::TestWithParam<bool> {
  void SetUp() override {
    auto opened = RawDisk::open(file.path(), {.direct = GetParam()});
    if (!opened && GetParam()) GTEST_SKIP() << "no O_DIRECT here: " << to_string(opened.error());
    ASSERT_TRUE(opened) << to_string(opened.error());
    disk = std::make_unique<RawDisk>(std::move(*opened));
  }

  int transfer(Kind kind, std::uint64_t offset, std::vector<iovec> parts, bool pinnable = true) {
    DiskOperation operation{.kind = kind, .pinnable = pinnable, .offset = offset, .data = parts};
    return disk->run(operation);
  }

  TempFile file{mib};
  std::unique_ptr<RawDisk> disk;
};

TEST_P(Transfers, MoveBytesFromAndToOddlyCutMemory) {
  auto content = pattern(300 << 10);  // more than one bounce
  std::vector<iovec> cut{{content.data(), 1}, {content.data() + 1, 511}, {content.data() + 512, content.size() - 512}};
  EXPECT_EQ(transfer(Kind::write, 4096, cut), 0);
  EXPECT_EQ(file.read(4096, content.size()), content);

  std::string back(content.size(), '\0');
  cut = {{back.data(), 4097}, {back.data() + 4097, back.size() - 4097}};
  EXPECT_EQ(transfer(Kind::read, 4096, cut), 0);
  EXPECT_EQ(back, content);
}

TEST_P(Transfers, MoveBytesOfMemoryThatCannotBePinned) {
  const std::unique_ptr<void, decltype(&std::free)> aligned(std::aligned_alloc(4096, 8192), &std::free);
  std::memset(aligned.get(), 0x5a, 8192);
  EXPECT_EQ(transfer(Kind::write, 0, {{aligned.get(), 8192}}, false), 0);
  EXPECT_EQ(file.read(0, 8192), std::string(8192, '\x5a'));
}

TEST_P(Transfers, AFileThatHasBecomeShorterIsAnError) {
  ASSERT_EQ(::truncate(file.path().c_str(), 4096), 0);
  std::string back(8192, '\0');
  EXPECT_EQ(transfer(Kind::read, 0, {{back.data(), back.size()}}), EIO);
}

TEST_P(Transfers, DiscardAndZeroesLeaveZeros) {
  const auto content = pattern(64 << 10);
  file.write(0, bytes_of(content));
  DiskOperation zeroes{.kind = Kind::write_zeroes, .offset = 4096, .bytes = 8192};
  EXPECT_EQ(disk->run(zeroes), 0);
  EXPECT_EQ(file.read(0, 16384), content.substr(0, 4096) + std::string(8192, '\0') + content.substr(12288, 4096));
  DiskOperation unmap{.kind = Kind::write_zeroes, .may_unmap = true, .offset = 16384, .bytes = 4096};
  EXPECT_EQ(disk->run(unmap), 0);
  EXPECT_EQ(file.read(16384, 4096), std::string(4096, '\0'));
  if (disk->info().can_discard) {
    DiskOperation discard{.kind = Kind::discard, .offset = 32768, .bytes = 4096};
    EXPECT_EQ(disk->run(discard), 0);
    EXPECT_EQ(file.read(32768, 8192), std::string(4096, '\0') + content.substr(36864, 4096));
  }
  struct stat status = {};
  ASSERT_EQ(::fstat(file.fd(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), mib) << "the size stays";
}

INSTANTIATE_TEST_SUITE_P(RawDisk, Transfers, ::testing::Bool(),
                         [](const auto& direct) { return direct.param ? "Direct" : "Buffered"; });

}  // namespace
}  // namespace trivet::virtio
