// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <set>
#include <string>

#include <trivet/vmm/acpi/acpi_tables.hpp>

#include "abi/acpi.hpp"
#include "loader_support.hpp"

namespace trivet::vmm {
namespace {

using ::testing::HasSubstr;

PlatformInfo full_platform(std::uint32_t vcpus = 4) {
  PlatformInfo platform;
  platform.ram_bytes = 256 * layout::mebibyte;
  platform.apic_ids.resize(vcpus);
  std::iota(platform.apic_ids.begin(), platform.apic_ids.end(), 0U);
  platform.ioapic.emplace();
  platform.pit = true;
  platform.serial.resize(1);
  platform.rtc = RtcInfo{layout::rtc_port, layout::rtc_gsi};
  platform.i8042 = true;
  platform.panic_port = true;
  for (std::uint64_t i = 0; i < 8; ++i) {
    const GuestAddress at{layout::virtio_mmio.start.value + i * layout::virtio_mmio_stride};
    platform.virtio_mmio.push_back(
        {{at, layout::virtio_mmio_stride}, layout::virtio_gsis[i], i % 2 == 0 ? Trigger::edge : Trigger::level});
  }
  return platform;
}

/// What a Xen PVH guest has: no lines, APIC ids twice the vCPU's number, devices on PCI.
PlatformInfo pvh_platform() {
  PlatformInfo platform;
  platform.ram_bytes = 64 * layout::mebibyte;
  platform.apic_ids = {0, 2, 4};
  platform.serial.push_back({layout::com1_port, std::nullopt});
  platform.pci = PciInfo{};
  return platform;
}

AcpiTables tables_of(const PlatformInfo& platform) {
  auto tables = acpi_tables(platform, layout::acpi_tables);
  EXPECT_TRUE(tables.has_value()) << to_string(tables.error());
  return *tables;
}

ConstBytes table(const AcpiTables& tables, std::string_view signature) {
  for (const auto& span : tables.tables) {
    if (std::string_view(span.signature.data(), 4) == signature) {
      return ConstBytes(tables.bytes).subspan(span.offset, span.size);
    }
  }
  ADD_FAILURE() << "no table " << signature;
  return {};
}

template <class T>
T object(ConstBytes bytes, std::size_t at) {
  T value;
  EXPECT_LE(at + sizeof(T), bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

unsigned sum(ConstBytes bytes) {
  unsigned total = 0;
  for (const auto byte : bytes) total += std::to_integer<unsigned>(byte);
  return total & 0xff;
}

std::size_t count_type(ConstBytes madt, std::uint8_t type) {
  std::size_t count = 0;
  for (std::size_t at = sizeof(abi::AcpiMadt); at < madt.size(); at += std::to_integer<std::size_t>(madt[at + 1])) {
    if (std::to_integer<std::uint8_t>(madt[at]) == type) ++count;
  }
  return count;
}

TEST(AcpiTables, RootPointerLeadsToEveryTableAndAllAddUpToZero) {
  const auto tables = tables_of(full_platform());
  const ConstBytes bytes = tables.bytes;
  EXPECT_EQ(sum(bytes.first(20)), 0U);
  EXPECT_EQ(sum(bytes.first(36)), 0U);
  EXPECT_EQ(tables.rsdp, layout::acpi_tables.start);
  const auto base = layout::acpi_tables.start.value;
  const auto xsdt = object<abi::le64>(bytes, 24).value() - base;
  std::set<std::uint64_t> listed;
  const auto length = object<abi::le32>(bytes, xsdt + 4).value();
  for (auto at = xsdt + 36; at < xsdt + length; at += 8) listed.insert(object<abi::le64>(bytes, at).value() - base);
  for (const auto& span : tables.tables) {
    const auto name = std::string(span.signature.data(), 4);
    EXPECT_EQ(sum(bytes.subspan(span.offset, span.size)), 0U) << name;
    EXPECT_EQ(object<abi::le32>(bytes, span.offset + 4).value(), span.size) << name;
    if (name == "DSDT" || name == "XSDT") continue;
    EXPECT_TRUE(listed.contains(span.offset)) << name;
  }
  EXPECT_EQ(listed.size(), 2U);
  const auto dsdt = object<abi::le64>(table(tables, "FACP"), 140).value() - base;
  EXPECT_EQ(std::memcmp(bytes.data() + dsdt, "DSDT", 4), 0);
}

TEST(AcpiTables, FadtIsHardwareReducedWithSleepAndResetPorts) {
  const auto tables = tables_of(full_platform());
  const auto fadt = object<abi::AcpiFixedTable>(table(tables, "FACP"), 0);
  EXPECT_EQ(fadt.header.revision, 6);
  EXPECT_NE(fadt.flags.value() & abi::acpi_flag_hardware_reduced, 0U);
  EXPECT_NE(fadt.flags.value() & abi::acpi_flag_reset_register, 0U);
  EXPECT_EQ(fadt.sleep_control.address.value(), layout::sleep_control_port);
  EXPECT_EQ(fadt.sleep_status.address.value(), layout::sleep_status_port);
  EXPECT_EQ(fadt.reset_register.address.value(), layout::reset_port);
  EXPECT_EQ(fadt.reset_value, layout::reset_value);
  for (const auto* address : {&fadt.sleep_control, &fadt.sleep_status, &fadt.reset_register}) {
    EXPECT_EQ(address->space, abi::acpi_space_io);
    EXPECT_EQ(address->bit_width, 8);
  }
}

TEST(AcpiTables, WithFixedHardwareTheFadtIsNotReduced) {
  auto platform = full_platform();
  platform.fixed_hardware = true;
  const auto tables = tables_of(platform);
  const auto fadt = object<abi::AcpiFixedTable>(table(tables, "FACP"), 0);
  EXPECT_EQ(fadt.flags.value() & abi::acpi_flag_hardware_reduced, 0U);
  EXPECT_EQ(fadt.pm1a_event.value(), 0x610U);
  EXPECT_EQ(fadt.pm1a_control.value(), 0x614U);
  EXPECT_EQ(fadt.pm_timer.value(), 0x608U);
  EXPECT_EQ(fadt.pm1_event_length, 4);
  EXPECT_EQ(fadt.pm1_control_length, 2);
  EXPECT_EQ(fadt.pm_timer_length, 4);
  EXPECT_EQ(fadt.sci.value(), 9U);
  EXPECT_EQ(fadt.sleep_control.address.value(), 0U);
  EXPECT_EQ(fadt.reset_register.address.value(), layout::reset_port);
  EXPECT_EQ(fadt.dsdt.value(), fadt.extended_dsdt.value()) << "for those who know only one";
}

TEST(AcpiTables, BootFlagsTellWhatIsThere) {
  const auto flags = [](const PlatformInfo& platform) {
    const auto tables = tables_of(platform);
    return object<abi::AcpiFixedTable>(table(tables, "FACP"), 0).boot_architecture.value();
  };
  EXPECT_EQ(flags(full_platform()), abi::acpi_boot_legacy_devices | abi::acpi_boot_8042 | abi::acpi_boot_no_vga);
  auto bare = full_platform();
  bare.i8042 = false;
  bare.rtc.reset();
  bare.serial.clear();
  bare.pit = false;
  EXPECT_EQ(flags(bare), abi::acpi_boot_no_vga | abi::acpi_boot_no_cmos_rtc);
}

TEST(AcpiTables, MadtListsProcessorsIoApicAndPit) {
  const auto tables = tables_of(full_platform(4));
  const auto madt = table(tables, "APIC");
  EXPECT_EQ(count_type(madt, abi::madt_local_apic), 4U);
  EXPECT_EQ(count_type(madt, abi::madt_io_apic), 1U);
  EXPECT_EQ(count_type(madt, abi::madt_source_override), 1U);
  EXPECT_EQ(object<abi::le32>(madt, 40).value(), abi::madt_pcat_compatible);
}

TEST(AcpiTables, PvhMadtHasLocalApicsOnlyWithTheirOwnIds) {
  const auto tables = tables_of(pvh_platform());
  const auto madt = table(tables, "APIC");
  EXPECT_EQ(count_type(madt, abi::madt_io_apic), 0U);
  EXPECT_EQ(count_type(madt, abi::madt_source_override), 0U);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto apic = object<abi::MadtLocalApic>(madt, sizeof(abi::AcpiMadt) + i * sizeof(abi::MadtLocalApic));
    EXPECT_EQ(apic.processor_uid, i);
    EXPECT_EQ(apic.apic_id, 2 * i);
  }
}

TEST(AcpiTables, McfgIsThereWithPciAndSaysWhereEcamIs) {
  const auto tables = tables_of(pvh_platform());
  const auto mcfg = object<abi::AcpiMcfg>(table(tables, "MCFG"), 0);
  EXPECT_EQ(mcfg.base.value(), layout::pci_ecam.start.value);
  EXPECT_EQ(mcfg.segment.value(), 0);
  EXPECT_EQ(mcfg.first_bus, 0);
  EXPECT_EQ(mcfg.last_bus, layout::pci_last_bus);
  for (const auto& span : tables_of(full_platform()).tables) {
    EXPECT_NE(std::string_view(span.signature.data(), 4), "MCFG") << "without PCI";
  }
}

TEST(AcpiTables, ManyProcessorsUseX2ApicStructures) {
  const auto tables = tables_of(full_platform(512));
  const auto madt = table(tables, "APIC");
  EXPECT_EQ(count_type(madt, abi::madt_local_apic), 255U);
  EXPECT_EQ(count_type(madt, abi::madt_local_x2apic), 257U);
}

TEST(AcpiTables, WhatDoesNotFitIsALimit) {
  const auto tables = acpi_tables(full_platform(4000), layout::acpi_tables);
  ASSERT_FALSE(tables.has_value());
  EXPECT_EQ(tables.error().code(), Errc::limit);
  EXPECT_THAT(to_string(tables.error()), HasSubstr("4000 vCPUs"));
  EXPECT_EQ(acpi_tables(full_platform(5000), layout::acpi_tables).error().code(), Errc::limit);
}

void expect_wrong(const PlatformInfo& platform, std::string_view what) {
  const auto tables = acpi_tables(platform, layout::acpi_tables);
  ASSERT_FALSE(tables.has_value()) << what;
  EXPECT_EQ(tables.error().code(), Errc::invalid_argument) << what;
  EXPECT_THAT(to_string(tables.error()), HasSubstr(std::string(what)));
}

TEST(AcpiTables, ContradictionsAreNamed) {
  auto platform = full_platform();
  platform.apic_ids = {};
  expect_wrong(platform, "no vCPU");
  platform = full_platform();
  platform.apic_ids = {0, 3, 3};
  expect_wrong(platform, "APIC id 3");
  platform = full_platform();
  platform.virtio_mmio[1].gsi = 24;
  expect_wrong(platform, "virtio-mmio device 1 has interrupt 24");
  platform = full_platform();
  platform.virtio_mmio[2].range = platform.virtio_mmio[0].range;
  expect_wrong(platform, "virtio-mmio device 2 overlaps device 0");
  platform = full_platform();
  platform.virtio_mmio[0].range = {{0xffff'f000}, 0x1001};
  expect_wrong(platform, "not below 4 GiB");
  platform = full_platform();
  platform.ioapic.reset();
  expect_wrong(platform, "no I/O APIC");
  platform = full_platform();
  platform.serial[0].port = 0xfff9;
  expect_wrong(platform, "beyond port 0xffff");
  platform = pvh_platform();
  platform.pci->memory = {{0xffff'0000}, 0x10001};
  expect_wrong(platform, "PCI memory");
  platform = pvh_platform();
  platform.pci->memory = platform.pci->ecam;
  expect_wrong(platform, "PCI ECAM overlaps");
  platform = pvh_platform();
  platform.pci->high_memory = {{0xf000'0000}, 0x2000'0000};
  expect_wrong(platform, "PCI high memory");
  platform = pvh_platform();
  platform.pci->last_bus = 1;
  expect_wrong(platform, "megabyte for each of 2 buses");
  EXPECT_FALSE(acpi_tables(full_platform(), {{0xe0008}, 0x1000}).has_value());
}

/// Runs iasl on a file; whether it ended well, its words in `log`.
bool run_iasl(const std::string& options, const std::string& log) {
  return std::system(("timeout 60 iasl " + options + " >'" + log + "' 2>&1").c_str()) == 0;
}

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

void expect_iasl_accepts(const PlatformInfo& platform) {
  const testing::TemporaryFolder folder;
  const auto tables = tables_of(platform);
  const auto log = folder.path("log");
  for (const auto& span : tables.tables) {
    const auto name = std::string(span.signature.data(), 4);
    const auto file = folder.write(name + ".aml", ConstBytes(tables.bytes).subspan(span.offset, span.size));
    ASSERT_TRUE(run_iasl("-d '" + file + "'", log)) << name << text_of(log);
    EXPECT_THAT(text_of(log), ::testing::Not(::testing::ContainsRegex("[Ww]arning|[Ee]rror|Invalid"))) << name;
    const auto source = folder.path(name + ".dsl");
    ASSERT_TRUE(run_iasl("-we -p '" + folder.path(name + "-again") + "' '" + source + "'", log))
        << name << text_of(log);
    if (name == "DSDT") {
      EXPECT_THAT(text_of(log), HasSubstr("0 Errors, 0 Warnings, 0 Remarks")) << text_of(source);
    }
    const auto again = text_of(folder.path(name + "-again.aml"));
    EXPECT_EQ(again.size(), span.size) << name;
    // What follows the header, which has the compiler's own name, is the same bytes.
    const auto body = std::string_view(again).substr(36);
    EXPECT_EQ(std::memcmp(body.data(), tables.bytes.data() + span.offset + 36, body.size()), 0) << name;
  }
}

class AcpiCompiler : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("command -v iasl >/dev/null 2>&1") != 0) GTEST_SKIP() << "iasl (acpica-tools) is not installed";
  }
};

TEST_F(AcpiCompiler, AcceptsAFullPlatform) {
  expect_iasl_accepts(full_platform());
}
TEST_F(AcpiCompiler, AcceptsAPvhPlatform) {
  expect_iasl_accepts(pvh_platform());
}
TEST_F(AcpiCompiler, AcceptsAWindowAboveRam) {
  auto platform = pvh_platform();
  platform.pci->high_memory = {{0x80'0000'0000}, 0x40'0000'0000};
  expect_iasl_accepts(platform);
}
TEST_F(AcpiCompiler, AcceptsManyProcessors) {
  expect_iasl_accepts(full_platform(300));
}

TEST_F(AcpiCompiler, ReadsDevicesAsMeant) {
  const testing::TemporaryFolder folder;
  const auto tables = tables_of(full_platform(2));
  const auto dsdt = table(tables, "DSDT");
  const auto file = folder.write("dsdt.aml", dsdt);
  ASSERT_TRUE(run_iasl("-d '" + file + "'", folder.path("log")));
  const auto text = text_of(folder.path("dsdt.dsl"));
  EXPECT_THAT(text, ::testing::ContainsRegex("Name \\(_HID, \"LNRO0005\"\\)"));
  EXPECT_THAT(text, ::testing::ContainsRegex("EisaId \\(\"PNP0501\"\\)"));
  EXPECT_THAT(text, ::testing::ContainsRegex("EisaId \\(\"PNP0B00\"\\)"));
  EXPECT_THAT(text, ::testing::ContainsRegex("0xD0001000, +// Address Base"));
  EXPECT_THAT(text, ::testing::ContainsRegex("Interrupt \\(ResourceConsumer, Edge, ActiveHigh, Exclusive"));
  EXPECT_THAT(text, ::testing::ContainsRegex("Interrupt \\(ResourceConsumer, Level, ActiveHigh, Exclusive"));
  EXPECT_THAT(text, HasSubstr("Name (_S5, Package (0x04)"));
  EXPECT_THAT(text, ::testing::ContainsRegex("Name \\(_HID, \"QEMU0001\"\\)"));
}

TEST_F(AcpiCompiler, ReadsThePciHostAsMeant) {
  const testing::TemporaryFolder folder;
  const auto tables = tables_of(pvh_platform());
  const auto file = folder.write("dsdt.aml", table(tables, "DSDT"));
  ASSERT_TRUE(run_iasl("-d '" + file + "'", folder.path("log")));
  const auto text = text_of(folder.path("dsdt.dsl"));
  EXPECT_THAT(text, ::testing::ContainsRegex("EisaId \\(\"PNP0A08\"\\)"));
  EXPECT_THAT(text, ::testing::ContainsRegex("WordBusNumber \\(ResourceProducer, MinFixed, MaxFixed, PosDecode"));
  EXPECT_THAT(text, ::testing::ContainsRegex("DWordMemory \\(ResourceProducer, PosDecode, MinFixed, MaxFixed, "
                                             "NonCacheable, ReadWrite"));
  EXPECT_THAT(text, ::testing::ContainsRegex("0xD8000000, +// Range Minimum"));
  EXPECT_THAT(text, ::testing::ContainsRegex("0xDFFFFFFF, +// Range Maximum"));
  EXPECT_THAT(text, ::testing::ContainsRegex("0xE0000000, +// Address Base"));
}

}  // namespace
}  // namespace trivet::vmm
