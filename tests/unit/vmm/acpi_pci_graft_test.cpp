// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <trivet/memory/mapping.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/vmm/acpi/pci_graft.hpp>

#include "acpi/table.hpp"

namespace trivet::vmm {
namespace {

using ::testing::HasSubstr;

constexpr GuestRange area{{0xfc00'0000}, 0x4000};
constexpr GuestAddress xsdt_at{0xfc00'1000};
constexpr GuestAddress madt_at{0xfc00'1100};
constexpr GuestAddress root_at{0xfc00'3000};

/// A guest with tables as libxl lays them: each kind in pages of its own, the root pointer in the last.
class PciGraft : public ::testing::Test {
 protected:
  PciGraft() {
    auto region = *memory::Region::create(area.start, *memory::Mapping::anonymous(area.size));
    memory_ = *memory::GuestMemory::create({region});
    PlatformInfo platform;
    platform.apic_ids = {0, 2};
    put(madt_at, acpi::make_madt(platform));
    put(xsdt_at, acpi::make_xsdt(std::array{madt_at}));
    put(root_at, acpi::make_rsdp(xsdt_at));
  }
  void put(GuestAddress at, ConstBytes bytes) { ASSERT_TRUE(memory_->write(at, bytes)); }
  acpi::Table get(GuestAddress at, std::size_t size) {
    acpi::Table bytes(size);
    EXPECT_TRUE(memory_->read(at, bytes));
    return bytes;
  }
  acpi::Table whole(GuestAddress at) { return get(at, memory_->read_object<abi::AcpiHeader>(at)->length.value()); }
  acpi::Table everything() { return get(area.start, area.size); }

  std::shared_ptr<const memory::GuestMemory> memory_;
};

TEST_F(PciGraft, AddsATableAndKeepsTheOthers) {
  ASSERT_TRUE(graft_pci_host(*memory_, area, {}));
  const auto root = *memory_->read_object<abi::AcpiRootPointer>(root_at);
  EXPECT_EQ(acpi::checksum(get(root_at, abi::acpi_root_pointer_first_size)), 0);
  EXPECT_EQ(acpi::checksum(get(root_at, abi::acpi_root_pointer_size)), 0);
  const auto xsdt = whole({root.xsdt.value()});
  EXPECT_EQ(acpi::checksum(xsdt), 0);
  ASSERT_EQ(xsdt.size(), sizeof(abi::AcpiHeader) + 2 * sizeof(std::uint64_t));
  std::array<std::uint64_t, 2> listed{};
  std::memcpy(listed.data(), xsdt.data() + sizeof(abi::AcpiHeader), sizeof listed);
  EXPECT_EQ(listed[0], madt_at.value);
  EXPECT_EQ(whole({listed[1]}), acpi::make_pci_ssdt({}));
  EXPECT_EQ(acpi::checksum(whole({listed[1]})), 0);
  EXPECT_GT(listed[1], root_at.value);
}

TEST_F(PciGraft, ChangesNothingTheSecondTime) {
  ASSERT_TRUE(graft_pci_host(*memory_, area, {}));
  const auto once = everything();
  ASSERT_TRUE(graft_pci_host(*memory_, area, {}));
  EXPECT_EQ(everything(), once);
}

TEST_F(PciGraft, NamesWhatIsMissingAndChangesNothing) {
  const auto refused = [&](Errc code, const char* words) {
    const auto before = everything();
    const auto result = graft_pci_host(*memory_, area, {});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), code);
    EXPECT_THAT(to_string(result.error()), HasSubstr(words));
    EXPECT_EQ(everything(), before);
  };
  const auto byte = [](unsigned value) { return std::array{static_cast<std::byte>(value)}; };

  put({root_at.value + 0x800}, byte(1));
  refused(Errc::limit, "free bytes behind the root pointer");
  put({root_at.value + 0x800}, byte(0));

  put({xsdt_at.value + 36}, byte(0x55));
  refused(Errc::malformed, "wrong checksum");
  put({xsdt_at.value + 4}, byte(3));
  refused(Errc::malformed, "3 bytes long");

  put({root_at.value + 24}, byte(0x55));
  refused(Errc::not_found, "no ACPI root pointer");
}

}  // namespace
}  // namespace trivet::vmm
