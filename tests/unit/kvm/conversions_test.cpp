// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What needs no /dev/kvm.
#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <vector>

#include <trivet/core/page_walk_x86_64.hpp>

#include "cpuid_x86_64.hpp"
#include "io_exits.hpp"
#include "registers_x86_64.hpp"

namespace trivet::kvm {
namespace {

/// A struct whose every byte (or 0/1 flag) differs: what a conversion drops or swaps shows.
template <class Struct>
Struct numbered() {
  Struct value{};
  std::vector<std::uint8_t> bytes(sizeof value);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 7 + 1);
  std::memcpy(&value, bytes.data(), bytes.size());
  return value;
}

TEST(RegistersTest, GeneralRegistersConvertBothWays) {
  const auto kernel = numbered<kvm_regs>();
  const auto back = to_kernel(from_kernel(kernel));
  EXPECT_EQ(std::memcmp(&kernel, &back, sizeof kernel), 0);
  EXPECT_EQ(from_kernel(kernel).r15, kernel.r15);
}

Segment marked(std::uint8_t mark) {
  Segment segment;
  segment.base = 0x1000ULL * mark;
  segment.limit = 0x100U * mark;
  segment.selector = mark;
  segment.type = mark & 15;
  segment.privilege = mark & 3;
  segment.present = (mark & 1) != 0;
  segment.code_or_data = (mark & 2) != 0;
  segment.available = (mark & 4) != 0;
  segment.long_mode = (mark & 8) != 0;
  segment.default_big = (mark & 1) == 0;
  segment.granularity = (mark & 2) == 0;
  segment.unusable = (mark & 4) == 0;
  return segment;
}

TEST(RegistersTest, SystemRegistersConvertBothWays) {
  SystemRegisters system;
  std::uint8_t mark = 0;
  for (auto* segment :
       {&system.cs, &system.ds, &system.es, &system.fs, &system.gs, &system.ss, &system.tr, &system.ldt}) {
    *segment = marked(++mark);
  }
  system.gdt = {0x1111, 0x22};
  system.idt = {0x3333, 0x44};
  system.cr0 = 10, system.cr2 = 12, system.cr3 = 13, system.cr4 = 14, system.cr8 = 8;
  system.efer = 0xe, system.apic_base = 0xa;
  EXPECT_EQ(from_kernel(to_kernel(system)), system);
  EXPECT_EQ(to_kernel(system).ldt.base, system.ldt.base);
}

TEST(RegistersTest, DebugRegistersConvertBothWays) {
  const DebugRegisters registers{{1, 2, 3, 4}, 0xffff0ff1, 0x455};
  EXPECT_EQ(from_kernel(to_kernel(registers)), registers);
}

TEST(RegistersTest, EventsConvertBothWaysAndOnlyWhatTheKernelKnows) {
  PendingEvents events;
  events.exception_pending = events.exception_has_error_code = events.exception_has_payload = true;
  events.exception_vector = 14, events.exception_error_code = 6, events.exception_payload = 0x1234;
  events.interrupt_injected = events.interrupt_soft = true;
  events.interrupt_vector = 0x80, events.interrupt_shadow = 1;
  events.nmi_injected = events.nmi_pending = events.nmi_masked = true;
  events.triple_fault_pending = events.in_smm = events.smi_pending = true;
  events.sipi_vector = 0x9a;
  EXPECT_EQ(from_kernel(to_kernel(events, {true, true, true})), events);
  const auto little = to_kernel(events, {});
  EXPECT_EQ(little.flags & (KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT | KVM_VCPUEVENT_VALID_SMM),
            0U);
  EXPECT_EQ(little.smi.smm, 0);
}

TEST(RegistersTest, ActivitiesConvertBothWays) {
  for (const auto activity : {Activity::running, Activity::halted, Activity::wait_for_sipi, Activity::init_received,
                              Activity::sipi_received, Activity::stopped}) {
    EXPECT_EQ(activity_from_kernel(to_kernel(activity)), activity);
  }
  EXPECT_EQ(activity_from_kernel(99), std::nullopt);
}

const CpuidEntry& entry(const std::vector<CpuidEntry>& entries, std::uint32_t leaf, std::uint32_t subleaf = 0) {
  return *std::find_if(entries.begin(), entries.end(),
                       [&](const CpuidEntry& one) { return one.leaf == leaf && one.subleaf == subleaf; });
}

std::vector<CpuidEntry> some_host(std::uint32_t vendor) {
  return {{0, 0, false, 0x1f, vendor, 0, 0},
          {1, 0, false, 0x1234, 0xab080800, 1U << 21 | 1U << 24 | 1, 1U << 28 | 1},
          {4, 0, true, 0xfc004121, 1, 2, 3},
          {4, 3, true, 0xfc0fc163, 1, 2, 3},
          {0xb, 0, true, 7, 7, 7, 7},
          {0x1f, 0, true, 7, 7, 7, 7},
          {0x40000001, 0, false, 0xffffffff, 0, 0, 0},
          {0x80000008, 0, false, 0x3028, 0, 0x5003, 0},
          {0x8000001e, 0, false, 9, 9, 9, 9}};
}
constexpr std::uint32_t amd = 0x68747541;
constexpr std::uint32_t intel = 0x756e6547;

TEST(CpuidTest, EachVcpuIsACoreWithItsOwnApicId) {
  const auto entries = cpuid_of_vcpu(some_host(amd), 2, 3, IrqchipKind::full);
  EXPECT_EQ(entry(entries, 1).ebx, 0x02040800U);
  EXPECT_NE(entry(entries, 1).edx & 1U << 28, 0U);
  EXPECT_EQ(entry(entries, 1).ecx & (1U << 21 | 1U << 24), 1U << 21 | 1U << 24);
  for (const std::uint32_t leaf : {0xbU, 0x1fU}) {
    EXPECT_EQ(entry(entries, leaf, 0), (CpuidEntry{leaf, 0, true, 0, 1, 0x100, 2}));
    EXPECT_EQ(entry(entries, leaf, 1), (CpuidEntry{leaf, 1, true, 2, 3, 0x201, 2}));
    EXPECT_EQ(entry(entries, leaf, 2).ebx, 0U);
  }
  EXPECT_EQ(entry(entries, 4, 0).eax >> 14 & 0xfff, 0U) << "a core's own cache";
  EXPECT_EQ(entry(entries, 4, 3).eax >> 14 & 0xfff, 3U) << "the package's cache";
  EXPECT_EQ(entry(entries, 4, 3).eax >> 26, 3U);
  EXPECT_EQ(entry(entries, 0x80000008).ecx & 0xf0ff, 0x2002U);
  EXPECT_EQ(entry(entries, 0x8000001e).eax, 2U);
  EXPECT_EQ(entry(entries, 0x40000001).eax, 0xffffffffU);
  EXPECT_EQ(entries.size(), some_host(amd).size() + 4);
}

TEST(CpuidTest, OneVcpuHasNoSiblingsAndIntelsReservedBitsStay) {
  const auto entries = cpuid_of_vcpu(some_host(intel), 0, 1, IrqchipKind::full);
  EXPECT_EQ(entry(entries, 1).ebx, 0x00010800U);
  EXPECT_EQ(entry(entries, 1).edx & 1U << 28, 0U);
  EXPECT_EQ(entry(entries, 0x80000008).ecx, 0x5003U);
}

TEST(CpuidTest, WithoutALapicNothingThatNeedsOneIsTold) {
  const auto entries = cpuid_of_vcpu(some_host(intel), 0, 1, IrqchipKind::none);
  EXPECT_EQ(entry(entries, 1).ecx, 1U);
  EXPECT_EQ(entry(entries, 0x40000001).eax & (1U << 6 | 1U << 11), 0U);
  EXPECT_NE(entry(entries, 0x40000001).eax & 1, 0U);
}

TEST(CpuidTest, KnowsTheWidthOfAnAddress) {
  EXPECT_EQ(physical_address_bits(some_host(amd)), 0x28U);
  EXPECT_EQ(physical_address_bits({}), 36U);
}

using Pieces = std::vector<std::pair<std::size_t, std::size_t>>;
Pieces pieces(std::uint64_t at, std::size_t size) {
  Pieces all;
  for_each_piece(at, size, [&](std::size_t offset, std::size_t bytes) { all.emplace_back(offset, bytes); });
  return all;
}

TEST(PiecesTest, OddSizesAreSplitIntoAlignedOnes) {
  for (const std::size_t size : {1U, 2U, 4U, 8U}) EXPECT_EQ(pieces(0x1001, size), (Pieces{{0, size}}));
  EXPECT_EQ(pieces(0x1000, 3), (Pieces{{0, 2}, {2, 1}}));
  EXPECT_EQ(pieces(0xffd, 3), (Pieces{{0, 1}, {1, 2}}));
  EXPECT_EQ(pieces(0x1000, 7), (Pieces{{0, 4}, {4, 2}, {6, 1}}));
  EXPECT_EQ(pieces(0xff9, 7), (Pieces{{0, 1}, {1, 2}, {3, 4}}));
  EXPECT_EQ(pieces(0x1000, 0), Pieces{});
}

/// Page tables in a map of 8-byte words.
class Tables {
 public:
  std::map<std::uint64_t, std::uint64_t> words;
  [[nodiscard]] ReadGuest reader() const {
    return [this](GuestAddress at, void* to, std::size_t bytes) {
      const auto word = words.find(at.value & ~7ULL);
      if (word == words.end()) return false;
      const auto shifted = word->second >> (8 * (at.value & 7));
      std::memcpy(to, &shifted, bytes);
      return true;
    };
  }
  [[nodiscard]] std::optional<Translation> walk(const SystemRegisters& system, std::uint64_t at) const {
    return walk_pages(system, {at}, reader());
  }
};

SystemRegisters paging(std::uint64_t cr4, bool long_mode) {
  SystemRegisters system;
  system.cr0 = 0x80000001;
  system.cr3 = 0x1000;
  system.cr4 = cr4;
  system.efer = long_mode ? 0x500 : 0;
  return system;
}

TEST(PageWalkTest, FourAndFiveLevelsWithLargePages) {
  Tables tables;
  tables.words = {{0x1000 + 511 * 8, 0x2007}, {0x2000, 0x3007}, {0x3000, 0x4005},
                  {0x3008, 0x40000083},       {0x4010, 0x9003}, {0x2008, 0x7f'c0000087}};
  const auto system = paging(0x20, true);
  const std::uint64_t top = 0xffff'ff80'0000'0000;
  auto found = tables.walk(system, top + 0x2345);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->address, GuestAddress{0x9345});
  EXPECT_FALSE(found->writable) << "the table above forbids it";
  EXPECT_FALSE(found->user) << "the page forbids it";
  found = tables.walk(system, top + 0x234567);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->address, GuestAddress{0x40034567});
  EXPECT_TRUE(found->writable);
  found = tables.walk(system, top + 0x4000'0000 + 0x12345678);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->address, GuestAddress{0x7f'd2345678});
  EXPECT_TRUE(found->user);
  EXPECT_FALSE(tables.walk(system, top + 0x3000));
  EXPECT_FALSE(tables.walk(system, 0x8000'0000'0000)) << "not canonical";
  auto five = paging(0x1020, true);
  five.cr3 = 0x8000;
  tables.words[0x8000] = 0x1007;
  EXPECT_EQ(tables.walk(five, 0xff80'0000'2345)->address, GuestAddress{0x9345});
}

TEST(PageWalkTest, PaeAndLegacy) {
  Tables tables;
  tables.words = {{0x1018, 0x2001}, {0x2ff8, 0x3003}, {0x3ff8, 0x12'3456'7003}};
  EXPECT_EQ(tables.walk(paging(0x20, false), 0xfffff123)->address, GuestAddress{0x12'3456'7123});
  EXPECT_FALSE(tables.walk(paging(0x20, false), 0x1000));
  Tables legacy;  // two 4-byte entries a word
  legacy.words = {{0x1000, 0x00402083'00002007}, {0x2008, 0x00005006'00004005}};
  EXPECT_EQ(legacy.walk(paging(0x10, false), 0x2123)->address, GuestAddress{0x4123});
  EXPECT_TRUE(legacy.walk(paging(0x10, false), 0x2123)->user);
  EXPECT_FALSE(legacy.walk(paging(0x10, false), 0x3000)) << "not present";
  EXPECT_EQ(legacy.walk(paging(0x10, false), 0x512345)->address, GuestAddress{0x1'00512345}) << "PSE-36";
  EXPECT_EQ(legacy.walk(SystemRegisters{}, 0x512345)->address, GuestAddress{0x512345}) << "no paging";
}

}  // namespace
}  // namespace trivet::kvm
