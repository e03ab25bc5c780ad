// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <trivet/vmm/loader/bzimage.hpp>
#include <trivet/vmm/loader/kernel_image.hpp>

#include "loader_support.hpp"

namespace trivet::vmm {
namespace {

using testing::BzImageMaker;
using ::testing::HasSubstr;

Result<BzImage> parse(const testing::Contents& bytes) {
  return parse_bzimage(Image::from_memory(bytes, "vmlinuz"));
}

void expect_refused(const BzImageMaker& maker, Errc code, const std::string& why) {
  const auto kernel = parse(maker.make());
  ASSERT_FALSE(kernel.has_value()) << why;
  EXPECT_EQ(kernel.error().code(), code) << to_string(kernel.error());
  EXPECT_THAT(to_string(kernel.error()), HasSubstr("vmlinuz"));
  EXPECT_THAT(to_string(kernel.error()), HasSubstr(why));
}

TEST(BzImage, TellsWhatItsHeaderSays) {
  const auto kernel = parse(BzImageMaker().make());
  ASSERT_TRUE(kernel.has_value()) << to_string(kernel.error());
  EXPECT_EQ(kernel->version, 0x20f);
  EXPECT_EQ(kernel->kernel_offset, 1024U);
  EXPECT_EQ(kernel->kernel_size, 0x2000U);
  EXPECT_EQ(kernel->command_line_size, 2047U);
  EXPECT_EQ(kernel->initrd_last, 0x7fff'ffffU);
}

TEST(BzImage, ExtentCoversWhereItIsLoadedAndWhereItRuns) {
  const auto kernel = *parse(BzImageMaker().make());
  EXPECT_EQ(kernel.extent({0x10'0000}), (GuestRange{{0x10'0000}, 0x11'0000}));
  EXPECT_EQ(kernel.extent({0x30'0000}), (GuestRange{{0x30'0000}, 0x11'0000})) << "runs at 4 MiB, aligned";
  EXPECT_FALSE(kernel.extent({~std::uint64_t{0} - 0xfff}).valid());
}

TEST(BzImage, EveryTruncationIsAnError) {
  const auto whole = BzImageMaker().make();
  for (std::size_t size = 0; size < whole.size(); size += size < 1100 ? 1 : 97) {
    // The size counts 16-byte units: an image may lack the last unit's padding.
    if (size + 16 > whole.size()) break;
    const auto cut = testing::Contents(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto kernel = parse(cut);
    ASSERT_FALSE(kernel.has_value()) << size;
    EXPECT_EQ(kernel.error().code(), Errc::malformed) << size;
  }
}

TEST(BzImage, OldAndOtherKindsAreUnsupported) {
  const auto refuses = [](auto change, const std::string& why) {
    BzImageMaker maker;
    change(maker.header);
    expect_refused(maker, Errc::unsupported, why);
  };
  refuses([](auto& h) { h.version = 0x205; }, "boot protocol 2.05");
  refuses([](auto& h) { h.version = 0x20b; }, "boot protocol 2.11");
  refuses([](auto& h) { h.load_flags = 0; }, "zImage");
  refuses([](auto& h) { h.extended_load_flags = 0; }, "no 64-bit entry");
}

TEST(BzImage, HeadersThatLieAreMalformed) {
  const auto refuses = [](auto change, const std::string& why) {
    BzImageMaker maker;
    change(maker.header);
    expect_refused(maker, Errc::malformed, why);
  };
  refuses([](auto& h) { h.magic = 0; }, "no setup header");
  refuses([](auto& h) { h.boot_flag = 0; }, "no setup header");
  refuses([](auto& h) { h.jump_length = 0x20; }, "header ends at 0x222");
  refuses([](auto& h) { h.setup_sectors = 255; }, "begins at offset 0x20000");
  refuses([](auto& h) { h.setup_sectors = 0; }, "the file has");
  refuses([](auto& h) { h.size_16 = 0; }, "syssize 0");
  refuses([](auto& h) { h.size_16 = 0xffff'ffff; }, "truncated");
  refuses([](auto& h) { h.size_16 = 0x20; }, "too small");
  refuses([](auto& h) { h.payload_offset = 0xffff'ffff; }, "payload ends");
  refuses([](auto& h) { h.payload_size = 0xffff'ffff; }, "payload ends");
  refuses([](auto& h) { h.needed_size = 16; }, "init_size 0x10");
  refuses([](auto& h) { h.alignment = 0; }, "alignment 0x0");
  refuses([](auto& h) { h.alignment = 0x30'0000; }, "power of two");
  refuses([](auto& h) { h.command_line_size = 0; }, "no command line");
}

TEST(BzImageLoad, PutsTheProtectedModePartAtItsAddress) {
  const auto bytes = BzImageMaker().make();
  const auto kernel = KernelImage::from_memory(bytes, "vmlinuz");
  ASSERT_TRUE(kernel.has_value());
  EXPECT_FALSE(kernel->supports(BootProtocol::pvh));
  const auto memory = testing::make_memory(8 * layout::mebibyte);
  const auto loaded = kernel->load(*memory, {0x50'0000}, BootProtocol::linux_64, true);
  ASSERT_TRUE(loaded.has_value()) << to_string(loaded.error());
  EXPECT_EQ(loaded->entry.value, 0x50'0200U);
  testing::Contents there(0x2000);
  ASSERT_TRUE(memory->read({0x50'0000}, there).has_value());
  EXPECT_EQ(there, testing::pattern(0x2000, 3));
}

TEST(BzImageLoad, NeedsRamWhereItRuns) {
  const auto bytes = BzImageMaker().make();
  const auto kernel = KernelImage::from_memory(bytes, "vmlinuz");
  const auto memory = testing::make_memory(BzImageMaker::preferred + BzImageMaker::needed - 0x1000);
  const auto loaded = kernel->load(*memory, layout::kernel, BootProtocol::linux_64, true);
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().code(), Errc::out_of_range);
  EXPECT_THAT(to_string(loaded.error()), HasSubstr("more memory"));
}

TEST(BzImageLoad, AFixedKernelStaysWhereItMust) {
  BzImageMaker maker;
  maker.header.relocatable = 0;
  const auto bytes = maker.make();
  const auto kernel = KernelImage::from_memory(bytes, "vmlinuz");
  const auto memory = testing::make_memory(8 * layout::mebibyte);
  EXPECT_TRUE(kernel->load(*memory, layout::kernel, BootProtocol::linux_64, true).has_value());
  EXPECT_EQ(kernel->load(*memory, {0x20'0000}, BootProtocol::linux_64, true).error().code(), Errc::invalid_argument);
}

TEST(BzImageLoad, AHostilePreferredAddressIsRefused) {
  for (const auto address : {~std::uint64_t{0}, ~std::uint64_t{0} - 0x1'0000, std::uint64_t{0}, std::uint64_t{1} << 40,
                             std::uint64_t{0xffff'f000}}) {
    BzImageMaker maker;
    maker.header.preferred_address = address;
    maker.header.relocatable = 0;
    const auto bytes = maker.make();
    const auto kernel = KernelImage::from_memory(bytes, "vmlinuz");
    ASSERT_TRUE(kernel.has_value());
    const auto memory = testing::make_memory(8 * layout::mebibyte);
    const auto loaded = kernel->load(*memory, layout::kernel, BootProtocol::linux_64, true);
    ASSERT_FALSE(loaded.has_value()) << address;
    EXPECT_EQ(loaded.error().code(), Errc::out_of_range);
  }
}

}  // namespace
}  // namespace trivet::vmm
