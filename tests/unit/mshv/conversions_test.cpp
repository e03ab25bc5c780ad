// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Between the hypervisor's formats and the neutral ones: what no host of the tests may have, too.
#include <cstring>
#include <gtest/gtest.h>

#include "msrs_x86_64.hpp"
#include "registers_x86_64.hpp"
#include "xsave_x86_64.hpp"

namespace trivet::mshv {
namespace {

CpuidEntry component(std::uint32_t bit, std::uint32_t size, std::uint32_t offset, std::uint32_t flags = 0) {
  return {0xd, bit, true, size, offset, flags, 0};
}

/// AVX, protection keys, and tile data, which is aligned; the supervisor's CET is not in the area.
const std::vector<CpuidEntry> cpuid{component(2, 256, 576), component(9, 8, 2688), component(11, 16, 0, 1),
                                    component(18, 128, 2816, 2)};
constexpr std::uint64_t states = 3 | 1U << 2 | 1U << 9 | 1U << 18;

std::vector<std::uint8_t> full_area(std::uint64_t present) {
  std::vector<std::uint8_t> area(2944);
  for (std::size_t i = 0; i < 512; ++i) area[i] = static_cast<std::uint8_t>(i);
  std::memcpy(area.data() + 512, &present, 8);
  for (const auto& entry : cpuid) {
    if (entry.ebx == 0 || (present >> entry.subleaf & 1) == 0) continue;
    for (std::size_t i = 0; i < entry.eax; ++i) area[entry.ebx + i] = static_cast<std::uint8_t>(entry.subleaf + i);
  }
  return area;
}

TEST(MshvXsave, PlacesComponentsAsTheProcessorDoes) {
  const XsaveLayout layout(cpuid);
  EXPECT_EQ(layout.standard_size(), 2944U);
  const auto area = full_area(states);
  std::vector<std::uint8_t> compacted(4096, 0xee);
  ASSERT_TRUE(layout.to_compacted(area, states, compacted));
  std::uint64_t format = 0;
  std::memcpy(&format, compacted.data() + 520, 8);
  EXPECT_EQ(format, states | std::uint64_t{1} << 63);
  EXPECT_EQ(compacted[576], 2) << "AVX behind the header";
  EXPECT_EQ(compacted[832], 9) << "protection keys behind AVX";
  EXPECT_EQ(compacted[840], 0);
  EXPECT_EQ(compacted[896], 18) << "tile data at the next multiple of 64";
  const auto back = layout.to_standard(compacted);
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, area);
}

TEST(MshvXsave, KeepsInitialComponentsInitial) {
  const XsaveLayout layout(cpuid);
  const auto area = full_area(3 | 1U << 9);
  std::vector<std::uint8_t> compacted(4096);
  ASSERT_TRUE(layout.to_compacted(area, states, compacted));
  EXPECT_EQ(compacted[832], 9) << "a component has its place although the one before it is initial";
  EXPECT_EQ(*layout.to_standard(compacted), area);
}

TEST(MshvXsave, RefusesWhatThisHostDoesNotHave) {
  const XsaveLayout layout(cpuid);
  std::vector<std::uint8_t> compacted(4096);
  EXPECT_EQ(layout.to_compacted(full_area(states), 7, compacted).error().code(), Errc::unsupported);
  auto cut = full_area(states);
  cut.resize(2700);
  EXPECT_EQ(layout.to_compacted(cut, states, compacted).error().code(), Errc::malformed);
  EXPECT_EQ(layout.to_compacted(std::vector<std::uint8_t>(575), states, compacted).error().code(), Errc::malformed);
  compacted.resize(900);
  EXPECT_EQ(layout.to_compacted(full_area(states), states, compacted).error().code(), Errc::hypervisor);
}

TEST(MshvXsave, RefusesAnAreaThatIsNotCompacted) {
  const XsaveLayout layout(cpuid);
  std::vector<std::uint8_t> area(4096);
  EXPECT_EQ(layout.to_standard(area).error().code(), Errc::malformed);
  EXPECT_EQ(layout.to_standard(std::vector<std::uint8_t>(100)).error().code(), Errc::malformed);
  const std::uint64_t format = states | std::uint64_t{1} << 63;
  std::memcpy(area.data() + 520, &format, 8);
  area.resize(900);
  EXPECT_EQ(layout.to_standard(area).error().code(), Errc::malformed) << "it ends within a component";
}

TEST(MshvRegisters, KeepEveryBitOfASegment) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x0f00) != 0) continue;  // reserved
    const abi::SegmentRegister from{0x123456789, 0xfffff, 0x33, static_cast<std::uint16_t>(bits)};
    const auto back = to_hypervisor(from_hypervisor(from));
    ASSERT_EQ(back.attributes, from.attributes);
    ASSERT_EQ(back.base, from.base);
    ASSERT_EQ(back.limit, from.limit);
    ASSERT_EQ(back.selector, from.selector);
  }
}

TEST(MshvRegisters, KeepEventsApart) {
  PendingEvents events;
  events.exception_injected = true;
  events.exception_vector = 14;
  events.exception_has_error_code = true;
  events.exception_error_code = 0x12345;
  events.nmi_masked = true;
  EXPECT_EQ(events_from(event_values(events)), events);
  events = {};
  events.exception_pending = true;
  events.exception_vector = 14;
  events.exception_has_payload = true;
  events.exception_payload = 0xabc000;
  events.interrupt_injected = true;
  events.interrupt_vector = 0xef;
  EXPECT_EQ(events_from(event_values(events)), events);
  events = {};
  events.nmi_injected = true;
  EXPECT_EQ(events_from(event_values(events)), events);
  events = {};
  events.interrupt_injected = events.interrupt_soft = true;
  events.interrupt_vector = 0x80;
  EXPECT_EQ(events_from(event_values(events)), events);
}

TEST(MshvMsrs, HaveTheirRegisters) {
  EXPECT_EQ(register_of_msr(0xc0000082), abi::reg::lstar);
  EXPECT_EQ(register_of_msr(0xc0000084), abi::reg::sfmask);
  EXPECT_EQ(register_of_msr(0x20f), abi::reg::mtrr_phys_mask0 + 7);
  EXPECT_EQ(register_of_msr(0x210), std::nullopt);
  EXPECT_EQ(register_of_msr(0x259), abi::reg::mtrr_fix64k + 2);
  EXPECT_EQ(register_of_msr(0x26f), abi::reg::mtrr_fix64k + 10);
  EXPECT_EQ(register_of_msr(0x175), abi::reg::sysenter_esp);
  EXPECT_EQ(register_of_msr(0x176), abi::reg::sysenter_eip);
  EXPECT_EQ(register_of_msr(0x10), std::nullopt) << "the TSC is an element of its own";
}

}  // namespace
}  // namespace trivet::mshv
