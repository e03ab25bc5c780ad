// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Debian's cloud kernel, where scripts/guest-image has made it: TRIVET_GUEST_IMAGE names its folder.
#include <cstdlib>
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <trivet/vmm/loader/boot_x86_64.hpp>

#include "abi/linux_boot.hpp"
#include "loader_support.hpp"

namespace trivet::vmm {
namespace {

namespace fs = std::filesystem;

fs::path guest_folder() {
  if (const char* named = std::getenv("TRIVET_GUEST_IMAGE"); named != nullptr) return named;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const auto root = fs::path(cache != nullptr  ? cache
                             : home != nullptr ? fs::path(home) / ".cache"
                                               : fs::path()) /
                    "trivet" / "guest";
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root, ignored)) {
    if (fs::exists(entry.path() / "vmlinux", ignored)) return entry.path();
  }
  return {};
}

class RealKernel : public ::testing::Test {
 protected:
  void SetUp() override {
    if (folder_.empty()) GTEST_SKIP() << "no guest image: run scripts/guest-image";
  }
  Result<BootState> boot(const char* kernel, const memory::GuestMemory& memory) {
    TRIVET_ASSIGN(auto image, KernelImage::open(folder_ / kernel));
    TRIVET_ASSIGN(auto initrd, Image::open(folder_ / "initrd"));
    BootSource source{
        std::move(image), std::move(initrd), *CommandLine::create("console=ttyS0"), layout::kernel, {}, true};
    PlatformInfo platform;
    platform.ram_bytes = ram_;
    platform.apic_ids = {0, 1, 2, 3};
    platform.ioapic.emplace();
    return load_boot(source, memory, platform);
  }

  std::uint64_t ram_ = 256 * layout::mebibyte;
  fs::path folder_ = guest_folder();
};

TEST_F(RealKernel, VmlinuxIsPvh) {
  const auto memory = testing::make_memory(ram_);
  const auto state = boot("vmlinux", *memory);
  ASSERT_TRUE(state.has_value()) << to_string(state.error());
  EXPECT_EQ(state->protocol, BootProtocol::pvh);
  EXPECT_GE(state->entry.value, 0x100'0000U);
  // The entry is code, not zeroes: cld, as arch/x86/platform/pvh/head.S begins.
  EXPECT_EQ(memory->read_object<std::uint8_t>(state->entry).value(), 0xfc);
  // Every loaded byte is the file's.
  const auto image = *Image::open(folder_ / "vmlinux");
  const auto kernel = *KernelImage::open(folder_ / "vmlinux");
  for (const auto& segment : std::get<ElfKernel>(kernel.format()).segments) {
    testing::Contents there(segment.file_size);
    testing::Contents wanted(segment.file_size);
    ASSERT_TRUE(memory->read(segment.range.start, there).has_value());
    ASSERT_TRUE(image.read(segment.file_offset, wanted).has_value());
    EXPECT_TRUE(there == wanted) << segment.range.start.value;
  }
}

TEST_F(RealKernel, VmlinuxAlsoHasA64BitEntry) {
  const auto kernel = KernelImage::open(folder_ / "vmlinux");
  ASSERT_TRUE(kernel.has_value()) << to_string(kernel.error());
  EXPECT_TRUE(kernel->supports(BootProtocol::linux_64));
}

TEST_F(RealKernel, VmlinuzIsABzImage) {
  const auto memory = testing::make_memory(ram_);
  const auto state = boot("vmlinuz", *memory);
  ASSERT_TRUE(state.has_value()) << to_string(state.error());
  EXPECT_EQ(state->protocol, BootProtocol::linux_64);
  EXPECT_EQ(state->entry.value, layout::kernel.value + 0x200);
  ASSERT_TRUE(state->initrd.has_value());
  EXPECT_FALSE(state->initrd->overlaps(state->kernel));
  EXPECT_GE(state->kernel.last().value, 0x100'0000U) << "it runs from 16 MiB";
}

TEST_F(RealKernel, TruncatedKernelsAreRefused) {
  const testing::TemporaryFolder folder;
  for (const char* name : {"vmlinux", "vmlinuz"}) {
    const auto path = folder.path(name);
    fs::copy_file(folder_ / name, path);
    fs::permissions(path, fs::perms::owner_all);
    const auto whole = fs::file_size(path);
    for (const auto size : {whole / 2, whole / 10, std::uintmax_t{0x300}, std::uintmax_t{0x100}, std::uintmax_t{1}}) {
      fs::resize_file(path, size);
      const auto kernel = KernelImage::open(path);
      ASSERT_FALSE(kernel.has_value()) << name << ' ' << size;
      EXPECT_EQ(kernel.error().code(), Errc::malformed);
      EXPECT_THAT(to_string(kernel.error()), ::testing::HasSubstr(path));
    }
  }
}

TEST_F(RealKernel, TooLittleMemoryIsNamed) {
  ram_ = 32 * layout::mebibyte;
  const auto memory = testing::make_memory(ram_);
  for (const char* name : {"vmlinux", "vmlinuz"}) {
    const auto state = boot(name, *memory);
    ASSERT_FALSE(state.has_value());
    EXPECT_EQ(state.error().code(), Errc::out_of_range) << to_string(state.error());
  }
}

}  // namespace
}  // namespace trivet::vmm
