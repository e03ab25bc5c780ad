// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <trivet/vmm/loader/elf.hpp>
#include <trivet/vmm/loader/kernel_image.hpp>

#include "loader_support.hpp"

namespace trivet::vmm {
namespace {

using testing::ElfMaker;
using ::testing::HasSubstr;

Result<ElfKernel> parse(const testing::Contents& bytes) {
  return parse_elf(Image::from_memory(bytes, "k.elf"));
}

void expect_refused(const ElfMaker& maker, Errc code, const std::string& why) {
  const auto kernel = parse(maker.make());
  ASSERT_FALSE(kernel.has_value()) << why;
  EXPECT_EQ(kernel.error().code(), code) << to_string(kernel.error());
  EXPECT_THAT(to_string(kernel.error()), HasSubstr("k.elf"));
  EXPECT_THAT(to_string(kernel.error()), HasSubstr(why));
}

TEST(Elf, TellsSegmentsAndEntries) {
  const auto kernel = parse(ElfMaker().make());
  ASSERT_TRUE(kernel.has_value()) << to_string(kernel.error());
  ASSERT_EQ(kernel->segments.size(), 1U);
  EXPECT_EQ(kernel->segments[0].range, (GuestRange{{ElfMaker::base}, 0x3000}));
  EXPECT_EQ(kernel->segments[0].file_size, 0x2000U);
  EXPECT_EQ(kernel->entry, GuestAddress{ElfMaker::base + 0x40});
  EXPECT_EQ(kernel->pvh_entry, GuestAddress{ElfMaker::base + 0x20});
}

TEST(Elf, SortsSegments) {
  ElfMaker maker;
  maker.add(ElfMaker::segment_offset, 0x40'0000, 16, 16);
  maker.add(ElfMaker::segment_offset, 0x30'0000, 16, 16);
  const auto kernel = parse(maker.make());
  ASSERT_TRUE(kernel.has_value()) << to_string(kernel.error());
  EXPECT_EQ(kernel->segments[1].range.start.value, 0x30'0000U);
  EXPECT_EQ(kernel->extent(), (GuestRange{{ElfMaker::base}, 0x30'0010}));
}

TEST(Elf, OthersAreUnsupportedByName) {
  ElfMaker maker;
  maker.header.file_class = abi::elf_class_32;
  expect_refused(maker, Errc::unsupported, "32-bit ELF");
  maker = {};
  maker.header.machine = abi::elf_machine_aarch64;
  expect_refused(maker, Errc::unsupported, "arm64");
  maker = {};
  maker.header.data = 2;
  expect_refused(maker, Errc::unsupported, "big-endian");
  maker = {};
  maker.header.type = 1;
  expect_refused(maker, Errc::unsupported, "not an executable");
}

TEST(Elf, EveryTruncationIsAnError) {
  const auto whole = ElfMaker().make();
  for (std::size_t size = 0; size < whole.size(); size += size < 0x400 ? 1 : 97) {
    const auto cut = testing::Contents(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto kernel = parse(cut);
    ASSERT_FALSE(kernel.has_value()) << size;
    EXPECT_EQ(kernel.error().code(), Errc::malformed) << size;
  }
  EXPECT_TRUE(parse(whole).has_value());
}

TEST(Elf, ProgramHeadersThatLie) {
  ElfMaker maker;
  maker.header.program_header_count = 0xffff;
  expect_refused(maker, Errc::malformed, "65535 program headers");
  maker = {};
  maker.header.program_header_size = 32;
  expect_refused(maker, Errc::malformed, "program headers of 32 bytes");
  maker = {};
  maker.header.program_headers = ~std::uint64_t{0} - 8;
  expect_refused(maker, Errc::malformed, "ends early");
  maker = {};
  maker.segments.clear();
  expect_refused(maker, Errc::malformed, "no segment to load");
  maker.note.clear();
  expect_refused(maker, Errc::malformed, "no program headers");
}

TEST(Elf, SegmentsThatLie) {
  const auto lies = [](auto change, const std::string& why) {
    ElfMaker maker;
    change(maker.segments[0]);
    expect_refused(maker, Errc::malformed, why);
  };
  lies([](auto& s) { s.file_size = 0x4000; }, "0 has 16384 bytes in the file for 12288");
  lies([](auto& s) { s.offset = ~std::uint64_t{0} - 0x100; }, "truncated: segment 0");
  lies([](auto& s) { s.offset = 0x1001; }, "truncated: segment 0");
  lies([](auto& s) { s.physical_address = ~std::uint64_t{0} - 0x100; }, "wrap around");
  lies([](auto& s) { s.memory_size = ~std::uint64_t{0}; }, "wrap around");
}

TEST(Elf, OverlappingSegmentsAreRefused) {
  ElfMaker maker;
  maker.add(ElfMaker::segment_offset, ElfMaker::base + 0x2fff, 1, 1);
  expect_refused(maker, Errc::malformed, "overlap");
  maker = {};
  maker.add(ElfMaker::segment_offset, ElfMaker::base + 0x3000, 1, 1);
  EXPECT_TRUE(parse(maker.make()).has_value()) << "adjacent is fine";
  maker = {};
  maker.add(ElfMaker::segment_offset, ElfMaker::base, 0, 0);
  EXPECT_TRUE(parse(maker.make()).has_value()) << "empty is no overlap";
}

TEST(Elf, EntriesMustLieInASegment) {
  ElfMaker maker;
  maker.set_note(18, "Xen", std::uint64_t{0x20'0000});
  expect_refused(maker, Errc::malformed, "PVH entry 0x200000");
  maker = {};
  maker.header.entry = 0xffff'ffff'8100'0000;  // virtual: only PVH can be used
  const auto kernel = parse(maker.make());
  ASSERT_TRUE(kernel.has_value());
  EXPECT_FALSE(kernel->entry.has_value());
  maker.note.clear();
  expect_refused(maker, Errc::malformed, "no PVH note");
  maker = {};
  maker.note.clear();
  maker.segments[0].physical_address = 0x1'0000'0000;
  maker.header.entry = 0x1'0000'0040;
  expect_refused(maker, Errc::malformed, "below 4 GiB");
}

TEST(ElfNotes, FourByteEntriesAndOtherNotesAreRead) {
  ElfMaker maker;
  maker.set_note(18, "Xen", static_cast<std::uint32_t>(ElfMaker::base + 0x24));
  EXPECT_EQ(parse(maker.make())->pvh_entry, GuestAddress{ElfMaker::base + 0x24});
  const auto wanted = maker.note;
  maker.set_note(18, "GNU", std::uint16_t{3});  // another's note 18, its description padded
  maker.note.resize(20);
  maker.note.insert(maker.note.end(), wanted.begin(), wanted.end());
  EXPECT_EQ(parse(maker.make())->pvh_entry, GuestAddress{ElfMaker::base + 0x24});
  maker.set_note(17, "Xen", std::uint64_t{1});
  EXPECT_FALSE(parse(maker.make())->pvh_entry.has_value());
}

TEST(ElfNotes, SizesThatLieAreErrors) {
  ElfMaker maker;
  maker.set_note(18, "Xen", std::uint16_t{1});
  expect_refused(maker, Errc::malformed, "2 bytes; 4 or 8");
  for (const std::size_t field : {std::size_t{0}, std::size_t{4}}) {
    for (const std::uint32_t lie : {25U, 0x7fff'ffffU, 0xffff'fff0U, 0xffff'ffffU}) {
      maker = {};
      abi::le32 size;
      size = lie;
      testing::put(maker.note, field, size);
      expect_refused(maker, Errc::malformed, "reach beyond its segment");
    }
  }
}

TEST(ElfLoad, PutsBytesAndZeroesWhereTheHeadersSay) {
  const auto bytes = ElfMaker().make();
  const auto kernel = KernelImage::from_memory(bytes, "k.elf");
  ASSERT_TRUE(kernel.has_value());
  const auto memory = testing::make_memory(4 * layout::mebibyte);
  ASSERT_TRUE(memory->fill({{0}, 4 * layout::mebibyte}, std::byte{0xee}).has_value());
  const auto loaded = kernel->load(*memory, layout::kernel, BootProtocol::pvh, false);
  ASSERT_TRUE(loaded.has_value()) << to_string(loaded.error());
  EXPECT_EQ(loaded->entry.value, ElfMaker::base + 0x20);
  testing::Contents there(0x4000);
  ASSERT_TRUE(memory->read({ElfMaker::base}, there).has_value());
  const auto body = testing::pattern(0x2000);
  EXPECT_TRUE(std::equal(body.begin(), body.end(), there.begin()));
  for (std::size_t i = 0x2000; i < 0x3000; ++i) ASSERT_EQ(there[i], std::byte{0}) << i;
  EXPECT_EQ(there[0x3000], std::byte{0xee});
}

TEST(ElfLoad, RefusesWhatLiesOutsideRamOrTooLow) {
  const auto memory = testing::make_memory(4 * layout::mebibyte);
  const auto load = [&](const ElfMaker& maker, GuestAddress at = layout::kernel) {
    const auto bytes = maker.make();
    const auto kernel = KernelImage::from_memory(bytes, "k.elf");
    EXPECT_TRUE(kernel.has_value());
    const auto loaded = kernel->load(*memory, at, kernel->protocol(), true);
    EXPECT_FALSE(loaded.has_value());
    return loaded ? Errc::io : loaded.error().code();
  };
  ElfMaker maker;
  maker.add(ElfMaker::segment_offset, 4 * layout::mebibyte - 1, 2, 2);
  EXPECT_EQ(load(maker), Errc::out_of_range);
  maker = {};
  maker.add(ElfMaker::segment_offset, 0x3000, 16, 16);  // over boot_params
  EXPECT_EQ(load(maker), Errc::out_of_range);
  maker = {};
  maker.add(ElfMaker::segment_offset, 0x20'0000, 1, std::uint64_t{1} << 60);
  EXPECT_EQ(load(maker), Errc::out_of_range);
  EXPECT_EQ(load({}, {0x20'0000}), Errc::out_of_range) << "himem_start above the kernel";
  EXPECT_EQ(load({}, {0x1000}), Errc::invalid_argument);
  EXPECT_EQ(load({}, {0x10'0001}), Errc::invalid_argument);
}

TEST(ElfLoad, AnEntryThatIsNotThereIsUnsupported) {
  ElfMaker maker;
  maker.note.clear();
  const auto bytes = maker.make();
  const auto kernel = KernelImage::from_memory(bytes, "k.elf");
  ASSERT_TRUE(kernel.has_value());
  EXPECT_EQ(kernel->protocol(), BootProtocol::linux_64);
  const auto memory = testing::make_memory(4 * layout::mebibyte);
  EXPECT_EQ(kernel->load(*memory, layout::kernel, BootProtocol::pvh, true).error().code(), Errc::unsupported);
}

}  // namespace
}  // namespace trivet::vmm
