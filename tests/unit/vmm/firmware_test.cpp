// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Firmware of a few instructions, on the real hypervisor of this host; and what firmware is told.
#include "firmware.hpp"

#include <chrono>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <thread>

#include <trivet/test/temp_file.hpp>
#include <trivet/vmm/acpi/acpi_tables.hpp>
#include <trivet/vmm/acpi/table_loader.hpp>
#include <trivet/vmm/backends.hpp>
#include <trivet/vmm/loader/boot_registers_x86_64.hpp>
#include <trivet/vmm/machine.hpp>

#include "abi/acpi.hpp"
#include "abi/fw_cfg.hpp"
#include "legacy_support.hpp"
#include "loader_support.hpp"

namespace trivet::vmm {
namespace {

using testing::Contents;
using ::testing::HasSubstr;

TEST(ResetRegisters, AreThoseOfAProcessorAtReset) {
  const auto registers = reset_registers();
  const auto& system = registers.system;
  EXPECT_EQ(registers.general.rip, 0xfff0U);
  EXPECT_EQ(registers.general.rflags, 2U);
  EXPECT_EQ(system.cs.selector, 0xf000U);
  EXPECT_EQ(system.cs.base, 0xffff'0000U);
  EXPECT_EQ(system.cs.base + registers.general.rip, 0xffff'fff0U);
  EXPECT_EQ(system.cr0, 0x6000'0010U) << "protection and paging off";
  EXPECT_EQ(system.cr3 | system.cr4 | system.efer, 0U);
  EXPECT_EQ(system.apic_base, 0xfee0'0900U);
  EXPECT_EQ(system.idt.limit, 0xffffU);
  for (const auto* segment : {&system.cs, &system.ds, &system.es, &system.fs, &system.gs, &system.ss}) {
    EXPECT_EQ(segment->limit, 0xffffU);
    EXPECT_TRUE(segment->present && segment->code_or_data);
    EXPECT_FALSE(segment->default_big || segment->long_mode || segment->granularity);
  }
  EXPECT_EQ(system.ds.base, 0U);
}

/// 4 KiB: jumps from the reset vector to its start, which is f000:f000. There is 'r' at f000:f800.
Contents rom(std::initializer_list<unsigned> code) {
  Contents image(0x1000);
  std::size_t at = 0;
  for (const auto byte : code) image[at++] = static_cast<std::byte>(byte);
  image[0x800] = std::byte{'r'};
  at = 0xff0;
  for (const unsigned byte : {0xe9U, 0x0dU, 0xf0U}) image[at++] = static_cast<std::byte>(byte);
  return image;
}

class FirmwareTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto chosen = registry.select("auto"); !chosen) GTEST_SKIP() << to_string(chosen.error());
    config.memory.size_mib = 16;
    config.serial = {"off", "off"};
  }
  void use(const Contents& image) {
    file.emplace(ConstBytes(image));
    config.firmware = FirmwareConfig{file->path(), debug.path()};
  }
  Outcome run() {
    auto machine = Machine::create(config, registry, {});
    if (!machine) return {End::failed, to_string(machine.error()), machine.error()};
    if (const auto started = (*machine)->start(); !started) return {End::failed, "start", started.error()};
    return (*machine)->wait();
  }
  std::string refusal() {
    const auto machine = Machine::create(config, registry, {});
    return machine ? std::string() : to_string(machine.error());
  }

  BackendRegistry registry = find_backends();
  std::optional<test::TempFile> file;
  test::TempFile debug;
  Config config;
};

TEST_F(FirmwareTest, StartsAtTheResetVectorInRomThatIsAlsoBelowAMegabyte) {
  use(rom({0xba, 0x02, 0x04,                    // mov dx, 0x402
           0x2e, 0xc6, 0x06, 0x00, 0xf8, 0x55,  // mov byte cs:[0xf800], 0x55: cs is in ROM
           0x2e, 0xa0, 0x00, 0xf8, 0xee,        // mov al, cs:[0xf800]; out dx, al
           0xb8, 0x00, 0xf0, 0x8e, 0xd8,        // mov ax, 0xf000; mov ds, ax: below a megabyte
           0xa0, 0x00, 0xf8, 0xee,              // mov al, [0xf800]; out dx, al
           0xc6, 0x06, 0x00, 0xf8, 'W',         // mov byte [0xf800], 'W'
           0xa0, 0x00, 0xf8, 0xee,              // mov al, [0xf800]; out dx, al
           0xba, 0x10, 0x05, 0x31, 0xc0, 0xef,  // mov dx, 0x510; xor ax, ax; out dx, ax
           0x42, 0xec,                          // inc dx; in al, dx
           0xba, 0x02, 0x04, 0xee,              // mov dx, 0x402; out dx, al
           0xba, 0x00, 0x06, 0xb0, 0x34, 0xee, 0xf4}));
  for (const auto* irqchip : {"full", "split"}) {
    config.platform.irqchip = irqchip;
    const auto outcome = run();
    EXPECT_EQ(outcome.end, End::power_off) << irqchip << ": " << outcome.detail;
    EXPECT_EQ(debug.read(0, 4), "rrWQ") << irqchip;
  }
}

// Interrupts of the timer come by the PIC's line 0, as a BIOS needs them.
TEST_F(FirmwareTest, HasATimerThatInterruptsThroughThePic) {
  use(rom({0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x70,        // ds = ss = 0; mov sp, 0x7000
           0xc7, 0x06, 0x20, 0x00, 0x37, 0xf0,                          // mov word [8 * 4], handler
           0xc7, 0x06, 0x22, 0x00, 0x00, 0xf0,                          // mov word [8 * 4 + 2], 0xf000
           0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6, 0x21,              // PIC: ICW1; vector 8
           0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21,              // ICW3, ICW4
           0xb0, 0xfe, 0xe6, 0x21,                                      // only line 0
           0xb0, 0x34, 0xe6, 0x43, 0xb0, 0x00, 0xe6, 0x40, 0xe6, 0x40,  // PIT: channel 0 at its slowest
           0xfb, 0xf4, 0xeb, 0xfd,                                      // sti; hlt; jmp to the hlt
           0xba, 0x00, 0x06, 0xb0, 0x34, 0xee, 0xf4}));                 // handler: power off
  for (const auto* irqchip : {"full", "split"}) {
    config.platform.irqchip = irqchip;
    const auto outcome = run();
    EXPECT_EQ(outcome.end, End::power_off) << irqchip << ": " << outcome.detail;
  }
}

TEST_F(FirmwareTest, FindsItsDevicesOnPciUnlessToldOtherwise) {
  use(rom({0xf4}));
  config.rng.resize(1);
  auto machine = Machine::create(config, registry, {});
  ASSERT_TRUE(machine) << to_string(machine.error());
  EXPECT_THAT((*machine)->devices().at(1), HasSubstr("virtio-pci at 00:02.0"));
  config.platform.virtio = "mmio";
  machine = Machine::create(config, registry, {});
  ASSERT_TRUE(machine) << to_string(machine.error());
  EXPECT_THAT((*machine)->devices().at(1), HasSubstr("virtio-mmio at 0xb8000000"));
}

TEST_F(FirmwareTest, RefusesWhatIsNoRomImage) {
  config.firmware = FirmwareConfig{"/nonexistent/bios.bin", "off"};
  EXPECT_THAT(refusal(), HasSubstr("/nonexistent/bios.bin"));
  for (const std::uint64_t size : {1U, 4095U, 4097U, (16U << 20) + 4096}) {
    const test::TempFile odd(size);
    config.firmware->path = odd.path();
    EXPECT_THAT(refusal(), HasSubstr(odd.path())) << size;
    EXPECT_THAT(refusal(), HasSubstr("multiple of 4096 and at most 16 MiB")) << size;
  }
  const test::TempFile empty;
  config.firmware->path = empty.path();
  EXPECT_THAT(refusal(), HasSubstr("empty"));
}

TEST(Firmware, EndsAtFourGibibytes) {
  const test::TempFile largest(std::uint64_t{16} << 20);
  const auto firmware = Firmware::open(largest.path());
  ASSERT_TRUE(firmware) << to_string(firmware.error());
  EXPECT_EQ(firmware->range(), (GuestRange{{0xff00'0000}, 0x100'0000}));
}

PlatformInfo platform(std::uint64_t ram, std::uint32_t vcpus) {
  PlatformInfo info;
  info.ram_bytes = ram;
  info.apic_ids.resize(vcpus);
  std::iota(info.apic_ids.begin(), info.apic_ids.end(), 0U);
  info.ioapic.emplace();
  info.pit = true;
  info.serial.resize(1);
  info.pci = PciInfo{layout::firmware_pci_ecam, layout::firmware_pci_memory, 0};
  return info;
}

TEST(DescribeMachine, TheClocksMemoryHasTheRamsSize) {
  Rtc rtc;
  const auto cmos = [&](unsigned index) {
    testing::out(rtc, 0, index);
    return unsigned{testing::in(rtc, 1)};
  };
  ASSERT_TRUE(describe_machine(rtc, platform(512 * layout::mebibyte, 3)));
  EXPECT_EQ(cmos(0x15) | cmos(0x16) << 8, 640U);
  EXPECT_EQ(cmos(0x17) | cmos(0x18) << 8, 0xffffU);
  EXPECT_EQ(cmos(0x34) | cmos(0x35) << 8, (512U - 16) * 16);
  EXPECT_EQ(cmos(0x5b) | cmos(0x5c) | cmos(0x5d), 0U);
  EXPECT_EQ(cmos(0x5f), 2U);
  ASSERT_TRUE(describe_machine(rtc, platform(8 * layout::gibibyte, 1)));
  EXPECT_EQ(cmos(0x34) | cmos(0x35) << 8, (0xb000U - 0x1000 / 0x10) & 0xffff);
  EXPECT_EQ(cmos(0x5b) | cmos(0x5c) << 8 | cmos(0x5d) << 16, (8 * layout::gibibyte - 0xb000'0000U) >> 16);
  ASSERT_TRUE(describe_machine(rtc, platform(8 * layout::mebibyte, 1)));
  EXPECT_EQ(cmos(0x17) | cmos(0x18) << 8, 7 * 1024U);
  EXPECT_EQ(cmos(0x34) | cmos(0x35), 0U);
  rtc.set_memory(0x0d, 0);
  EXPECT_EQ(cmos(0x0d), 0x80U) << "the clock's own registers stay its own";
}

TEST(DescribeMachine, FwCfgHasItsFiles) {
  const auto map = std::make_shared<memory::MemoryMap>(testing::make_memory(0x1000));
  FwCfg fw_cfg(map);
  ASSERT_TRUE(describe_machine(fw_cfg, platform(3 * layout::gibibyte, 2)));
  const auto read = [&](std::uint16_t key, std::size_t size) {
    fw_cfg.write(0, std::as_bytes(std::span(&key, 1)));
    Contents bytes(size);
    for (auto& byte : bytes) byte = static_cast<std::byte>(testing::in(fw_cfg, 1));
    return bytes;
  };
  const auto directory = read(0x19, 4 + 16 * 64);
  std::map<std::string, abi::FwCfgFile> files;
  for (std::size_t i = 0; i < std::to_integer<std::size_t>(directory[3]); ++i) {
    abi::FwCfgFile one;
    std::memcpy(&one, directory.data() + 4 + i * 64, sizeof one);
    files.emplace(one.name.data(), one);
  }
  ASSERT_TRUE(files.contains("etc/e820") && files.contains("etc/table-loader") && files.contains("etc/sercon-port"));
  const auto e820 = read(files["etc/e820"].key.value(), files["etc/e820"].size.value());
  ASSERT_EQ(e820.size(), 3 * 20U);
  abi::FwCfgE820 entry;
  std::memcpy(&entry, e820.data(), sizeof entry);
  EXPECT_EQ(entry.address.value(), 0U);
  EXPECT_EQ(entry.size.value(), 0xb000'0000U);
  EXPECT_EQ(entry.type.value(), 1U);
  std::memcpy(&entry, e820.data() + 20, sizeof entry);
  EXPECT_EQ(entry.address.value(), 4 * layout::gibibyte);
  EXPECT_EQ(entry.size.value(), 0x1000'0000U);
  std::memcpy(&entry, e820.data() + 40, sizeof entry);
  EXPECT_EQ(entry.address.value(), 0xb000'0000U);
  EXPECT_EQ(entry.type.value(), 2U);
  EXPECT_EQ(read(5, 2), (Contents{std::byte{2}, std::byte{0}}));
}

/// Plays the loader of a BIOS: two files at two places, and the script.
class Loader {
 public:
  explicit Loader(LoadableTables& tables) : tables_(tables) {}
  static constexpr std::uint64_t tables_at = 0x7fe1000;

  void run() {
    ASSERT_EQ(tables_.script.size() % 128, 0U);
    for (std::size_t at = 0; at < tables_.script.size(); at += 128) step(tables_.script.data() + at);
    EXPECT_EQ(allocated_, 2);
  }

 private:
  Contents& file(const abi::LoaderName& name) {
    const std::string_view text(name.data());
    EXPECT_TRUE(text == "etc/acpi/rsdp" || text == "etc/acpi/tables") << text;
    return text == "etc/acpi/rsdp" ? tables_.rsdp : tables_.tables;
  }
  void step(const std::byte* bytes) {
    abi::LoaderAddPointer pointer;
    std::memcpy(&pointer, bytes, sizeof pointer);
    if (pointer.command.value() == abi::loader_allocate) {
      ++allocated_;
    } else if (pointer.command.value() == abi::loader_add_pointer) {
      auto& in = file(pointer.file);
      ASSERT_LE(pointer.offset.value() + pointer.size, in.size());
      std::uint64_t value = 0;
      std::memcpy(&value, in.data() + pointer.offset.value(), pointer.size);
      ASSERT_LT(value, tables_.tables.size()) << "an offset into the tables";
      value += tables_at;
      std::memcpy(in.data() + pointer.offset.value(), &value, pointer.size);
    } else {
      abi::LoaderAddChecksum sum;
      std::memcpy(&sum, bytes, sizeof sum);
      ASSERT_EQ(sum.command.value(), abi::loader_add_checksum);
      auto& in = file(sum.file);
      ASSERT_LE(sum.start.value() + sum.length.value(), in.size());
      unsigned total = 0;
      for (std::size_t i = 0; i < sum.length.value(); ++i)
        total += std::to_integer<unsigned>(in[sum.start.value() + i]);
      auto& byte = in[sum.offset.value()];
      byte = static_cast<std::byte>(std::to_integer<unsigned>(byte) - total);
    }
  }

  LoadableTables& tables_;
  int allocated_ = 0;
};

TEST(LoadableTables, AfterTheScriptTheyAreThoseOfThatPlace) {
  const auto info = platform(256 * layout::mebibyte, 4);
  auto loadable = *loadable_acpi_tables(info);
  Loader(loadable).run();
  auto expected = *acpi_tables(info, {{Loader::tables_at}, 0x20000});
  ASSERT_EQ(loadable.tables.size(), expected.bytes.size());
  ASSERT_EQ(loadable.rsdp.size(), 36U);
  EXPECT_TRUE(std::equal(loadable.rsdp.begin(), loadable.rsdp.end(), expected.bytes.begin()));
  std::fill_n(expected.bytes.begin(), 36, std::byte{0});
  EXPECT_EQ(loadable.tables, expected.bytes);
}

}  // namespace
}  // namespace trivet::vmm
