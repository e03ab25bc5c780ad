// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <trivet/vmm/loader/boot_info.hpp>
#include <trivet/vmm/loader/boot_x86_64.hpp>
#include <trivet/vmm/loader/initrd.hpp>

#include "abi/linux_boot.hpp"
#include "abi/pvh.hpp"
#include "loader_support.hpp"

namespace trivet::vmm {
namespace {

using layout::mebibyte;
using ::testing::HasSubstr;

constexpr std::uint64_t ram = 16 * mebibyte;

PlatformInfo small_platform() {
  PlatformInfo platform;
  platform.ram_bytes = ram;
  platform.apic_ids = {0};
  platform.ioapic.emplace();
  platform.serial.resize(1);
  return platform;
}

class Boot : public ::testing::Test {
 protected:
  BootSource source(const testing::Contents& bytes) {
    kernel_ = bytes;
    auto kernel = KernelImage::from_memory(kernel_, "kernel");
    EXPECT_TRUE(kernel.has_value());
    return {std::move(*kernel), std::nullopt, *CommandLine::create("console=ttyS0 x"), layout::kernel, {}, true};
  }
  [[nodiscard]] std::string text(std::uint64_t at) const {
    std::string result;
    for (char c = 1; (c = memory_->read_object<char>({at++}).value()) != 0;) result += c;
    return result;
  }

  testing::Contents kernel_;
  testing::Contents initrd_ = testing::pattern(5000);
  std::shared_ptr<const memory::GuestMemory> memory_ = testing::make_memory(ram);
};

TEST_F(Boot, PvhHandsOverStartInfo) {
  auto from = source(testing::ElfMaker().make());
  from.initrd = Image::from_memory(initrd_, "initrd");
  const auto state = load_boot(from, *memory_, small_platform());
  ASSERT_TRUE(state.has_value()) << to_string(state.error());
  EXPECT_EQ(state->protocol, BootProtocol::pvh);
  const auto& registers = state->registers;
  EXPECT_EQ(registers.general.rip, testing::ElfMaker::base + 0x20);
  EXPECT_EQ(registers.general.rflags, 2U);
  EXPECT_EQ(registers.system.cr0, 0x11U);
  EXPECT_EQ(registers.system.cr4, 0U);
  EXPECT_EQ(registers.system.efer, 0U);
  EXPECT_EQ(registers.system.cs.limit, 0xffff'ffffU);
  EXPECT_TRUE(registers.system.cs.default_big);
  EXPECT_EQ(registers.system.tr.type, 0xb);

  const auto start = memory_->read_object<abi::HvmStartInfo>({registers.general.rbx}).value();
  EXPECT_EQ(start.magic.value(), abi::hvm_start_magic);
  EXPECT_EQ(start.version.value(), 1U);
  EXPECT_EQ(text(start.command_line.value()), "console=ttyS0 x");
  EXPECT_EQ(start.rsdp.value(), layout::acpi_tables.start.value);
  EXPECT_EQ(text(start.rsdp.value()).substr(0, 8), "RSD PTR ");
  ASSERT_EQ(start.module_count.value(), 1U);
  const auto module = memory_->read_object<abi::HvmModule>({start.modules.value()}).value();
  EXPECT_EQ(module.size.value(), initrd_.size());
  EXPECT_EQ(module.address.value(), ram - 0x2000);
  testing::Contents there(initrd_.size());
  ASSERT_TRUE(memory_->read({module.address.value()}, there).has_value());
  EXPECT_EQ(there, initrd_);
  ASSERT_EQ(start.memory_map_entries.value(), 4U);
  const auto last =
      memory_->read_object<abi::HvmMemoryMapEntry>({start.memory_map.value() + 3 * sizeof(abi::HvmMemoryMapEntry)});
  EXPECT_EQ(last->address.value(), mebibyte);
  EXPECT_EQ(last->size.value(), ram - mebibyte);
  EXPECT_EQ(last->type.value(), 1U);
}

TEST_F(Boot, LinuxHandsOverBootParamsInLongMode) {
  auto from = source(testing::BzImageMaker().make());
  from.initrd = Image::from_memory(initrd_, "initrd");
  const auto state = load_boot(from, *memory_, small_platform());
  ASSERT_TRUE(state.has_value()) << to_string(state.error());
  EXPECT_EQ(state->protocol, BootProtocol::linux_64);
  const auto& registers = state->registers;
  EXPECT_EQ(registers.general.rip, layout::kernel.value + 0x200);
  EXPECT_EQ(registers.system.efer, 0x500U);
  EXPECT_EQ(registers.system.cr0, 0x8000'0011U);
  EXPECT_EQ(registers.system.cr4, 0x20U);
  EXPECT_TRUE(registers.system.cs.long_mode);
  EXPECT_FALSE(registers.system.cs.default_big);
  EXPECT_EQ(registers.system.cs.selector, 0x10);
  EXPECT_EQ(registers.system.ds.selector, 0x18);

  const auto params = memory_->read_object<abi::BootParams>({registers.general.rsi}).value();
  EXPECT_EQ(params.header.magic.value(), abi::setup_magic);
  EXPECT_EQ(params.header.version.value(), 0x20f);
  EXPECT_EQ(params.header.loader_type, 0xff);
  EXPECT_EQ(params.header.load_flags & abi::setup_can_use_heap, 0);
  EXPECT_EQ(params.header.setup_data.value(), 0U) << "a list that the image made up is not for the kernel to walk";
  EXPECT_EQ(text(params.header.command_line.value()), "console=ttyS0 x");
  EXPECT_EQ(params.header.initrd_address.value(), ram - 0x2000);
  EXPECT_EQ(params.header.initrd_size.value(), initrd_.size());
  EXPECT_EQ(params.acpi_rsdp.value(), layout::acpi_tables.start.value);
  ASSERT_EQ(params.e820_entries, 4);
  EXPECT_EQ(params.e820[3].address.value(), mebibyte);
  EXPECT_EQ(params.pad_1e9[0x1ef - 0x1e9], 0) << "the sentinel";
}

TEST_F(Boot, PageTablesMapFourGiBOneToOne) {
  ASSERT_TRUE(load_boot(source(testing::BzImageMaker().make()), *memory_, small_platform()).has_value());
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{0x20'0000}, std::uint64_t{0x4000'0000},
                                 std::uint64_t{0xffff'ffff}, std::uint64_t{0x8765'4321}}) {
    auto table = layout::boot_page_tables.start.value;
    for (const unsigned shift : {39U, 30U}) {
      const auto entry = memory_->load<std::uint64_t>({table + (at >> shift & 511) * 8}).value();
      ASSERT_EQ(entry & 0x83, 3U);
      table = entry & ~std::uint64_t{0xfff};
    }
    const auto entry = memory_->load<std::uint64_t>({table + (at >> 21 & 511) * 8}).value();
    EXPECT_EQ(entry, (at & ~std::uint64_t{0x1f'ffff}) | 0x83);
  }
  EXPECT_EQ(memory_->load<std::uint64_t>({layout::boot_page_tables.start.value + 8}).value(), 0U);
  EXPECT_EQ(memory_->load<std::uint64_t>({layout::boot_gdt.start.value + 0x10}).value(), 0x00af'9b00'0000'ffffU);
}

TEST_F(Boot, AnElfCanBootBothWays) {
  auto from = source(testing::ElfMaker().make());
  from.protocol = BootProtocol::linux_64;
  const auto state = load_boot(from, *memory_, small_platform());
  ASSERT_TRUE(state.has_value()) << to_string(state.error());
  EXPECT_EQ(state->registers.general.rip, testing::ElfMaker::base + 0x40);
  const auto params = memory_->read_object<abi::BootParams>({state->registers.general.rsi}).value();
  EXPECT_EQ(params.header.magic.value(), abi::setup_magic);
  EXPECT_EQ(text(params.header.command_line.value()), "console=ttyS0 x");
  from = source(testing::BzImageMaker().make());
  from.protocol = BootProtocol::pvh;
  EXPECT_EQ(load_boot(from, *memory_, small_platform()).error().code(), Errc::unsupported);
}

TEST_F(Boot, WithoutAcpiThereIsNoRootPointer) {
  auto platform = small_platform();
  platform.acpi = false;
  const auto state = load_boot(source(testing::ElfMaker().make()), *memory_, platform);
  ASSERT_TRUE(state.has_value());
  EXPECT_FALSE(state->rsdp.has_value());
  EXPECT_EQ(memory_->read_object<abi::HvmStartInfo>(layout::start_info.start)->rsdp.value(), 0U);
  EXPECT_EQ(memory_->load<std::uint64_t>(layout::acpi_tables.start).value(), 0U);
}

TEST_F(Boot, ACommandLineLongerThanTheKernelTakesIsALimit) {
  testing::BzImageMaker maker;
  maker.header.command_line_size = 14;
  const auto state = load_boot(source(maker.make()), *memory_, small_platform());
  ASSERT_FALSE(state.has_value());
  EXPECT_EQ(state.error().code(), Errc::limit);
  EXPECT_THAT(to_string(state.error()), HasSubstr("15 characters"));
  EXPECT_EQ(write_command_line(*memory_, std::string(65536, 'a')).error().code(), Errc::limit);
  EXPECT_TRUE(write_command_line(*memory_, std::string(65535, 'a')).has_value());
}

TEST_F(Boot, RamThatIsNotThereIsNamed) {
  auto platform = small_platform();
  platform.ram_bytes = ram + 0x1000;
  const auto state = load_boot(source(testing::ElfMaker().make()), *memory_, platform);
  ASSERT_FALSE(state.has_value());
  EXPECT_EQ(state.error().code(), Errc::invalid_argument);
}

TEST_F(Boot, AnInitrdThatDoesNotFitIsNamed) {
  auto from = source(testing::ElfMaker().make());
  const auto large = testing::Contents(ram - mebibyte);
  from.initrd = Image::from_memory(large, "big.cpio");
  const auto state = load_boot(from, *memory_, small_platform());
  ASSERT_FALSE(state.has_value());
  EXPECT_EQ(state.error().code(), Errc::out_of_range);
  EXPECT_THAT(to_string(state.error()), ::testing::AllOf(HasSubstr("big.cpio"), HasSubstr("do not fit")));
}

TEST_F(Boot, TooManyMemoryMapEntriesAreALimit) {
  const std::vector<MemoryMapEntry> many(200, {{{0}, 4096}, MemoryType::reserved});
  const BootInfo info{many, "", {}, {}};
  EXPECT_EQ(write_start_info(*memory_, info).error().code(), Errc::limit);
  EXPECT_EQ(write_boot_params(*memory_, info, nullptr).error().code(), Errc::limit);
}

TEST(InitrdRange, GoesAsHighAsItMay) {
  const GuestRange low{{0}, ram};
  const GuestRange kernel{{mebibyte}, mebibyte};
  EXPECT_EQ(*initrd_range(1, low, kernel, 0x7fff'ffff), (GuestRange{{ram - 0x1000}, 1}));
  EXPECT_EQ(*initrd_range(0x1001, low, kernel, 0x7fff'ffff), (GuestRange{{ram - 0x2000}, 0x1001}));
  EXPECT_EQ(*initrd_range(0x1000, low, kernel, 8 * mebibyte - 1), (GuestRange{{8 * mebibyte - 0x1000}, 0x1000}));
  EXPECT_EQ(*initrd_range(ram - 2 * mebibyte, low, kernel, ~std::uint64_t{0}),
            (GuestRange{{2 * mebibyte}, ram - 2 * mebibyte}));
}

TEST(InitrdRange, RefusesWhatDoesNotFit) {
  const GuestRange low{{0}, ram};
  const GuestRange kernel{{mebibyte}, mebibyte};
  EXPECT_FALSE(initrd_range(0, low, kernel, ~std::uint64_t{0}).has_value());
  EXPECT_FALSE(initrd_range(ram - 2 * mebibyte + 1, low, kernel, ~std::uint64_t{0}).has_value());
  EXPECT_FALSE(initrd_range(~std::uint64_t{0}, low, kernel, ~std::uint64_t{0}).has_value());
  EXPECT_FALSE(initrd_range(1, low, kernel, 0).has_value());
  EXPECT_FALSE(initrd_range(1, low, {{mebibyte}, ram}, ~std::uint64_t{0}).has_value());
}

}  // namespace
}  // namespace trivet::vmm
